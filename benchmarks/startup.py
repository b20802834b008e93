# SPDX-License-Identifier: Apache-2.0
"""Seconds from the command to the end of the first training step of the default run, and of ``--help``.

Claim: with an empty compilation cache at most 0.6, with a full one at most 0.5 of the time of another checkout.

    python -m benchmarks.startup OTHER            # against the checkout in folder OTHER, without any cache
    python -m benchmarks.startup                  # against this checkout with trainer.compilation_cache=off
    python -m benchmarks.startup --quick          # one round: does it run?

Every run is a new process with a cache folder of its own. It is timed until it prints its first step, and then killed.
In a round each case has a turn, in alternating order; ratios are those of a round. Seconds of the processors, all cores
together, depend less on what else the machine does.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.measure import RESULTS, machine, median_ratio, write

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMAND = ("launch/train.py", "--config=gsm8k_ntl")
OFF = "--config.trainer.compilation_cache=off"
FIRST_STEP = "warm_start   1/"
"""How the line of the first step begins."""
NUM_ROUNDS = 7


class Case(NamedTuple):
    """A way to start.

    Args:
        checkout: whose code runs.
        options: more options of the command.
        caches: the user's cache folder; None: an empty one for every run.
    """

    checkout: pathlib.Path
    options: Sequence[str] = ()
    caches: pathlib.Path | None = None


def first_step(case: Case) -> tuple[float, float]:
    """Starts the run and kills it after its first step; returns its seconds, and those of the processors."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
        environment |= {"PYTHONPATH": str(case.checkout), "XDG_CACHE_HOME": str(case.caches or f"{scratch}/caches")}
        command = [sys.executable, *COMMAND, f"--workdir={scratch}/run", *case.options]
        errors = pathlib.Path(scratch) / "errors.txt"
        start = time.perf_counter()
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                command, cwd=case.checkout, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
            assert process.stdout is not None
            ended = any(line.startswith(FIRST_STEP) for line in process.stdout)
            seconds = time.perf_counter() - start
            process.kill()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stdout.close()
        if not ended:
            raise RuntimeError(f"{' '.join(command)} in {case.checkout}: {errors.read_text()}")
        return seconds, used.ru_utime + used.ru_stime


def seconds_of_help(case: Case) -> float:
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(case.checkout)}
    command = [sys.executable, COMMAND[0], "--help"]
    subprocess.run(command, cwd=case.checkout, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def measured(other: pathlib.Path | None, caches: pathlib.Path, num_rounds: int) -> dict[str, object]:
    """Medians of the cases in seconds, and the ratios to the first one.

    Args:
        other: checkout to compare with; None: this one, which keeps no programs.
        caches: an empty folder, which stays for all runs with a full cache.
        num_rounds: how often each case has its turn.
    """
    baseline = Case(ROOT, (OFF,)) if other is None else Case(other)
    cases = {"baseline": baseline, "empty_cache": Case(ROOT), "full_cache": Case(ROOT, (), caches)}
    for case in cases.values():
        first_step(case)  # fills the cache, and reads the packages from the disk for the first time
    times, of_help = np.empty((num_rounds, len(cases), 2)), np.empty((num_rounds, 2))
    for number in range(num_rounds):
        order = list(enumerate(cases.values()))
        for which, case in order if number % 2 else reversed(order):
            times[number, which] = first_step(case)
        for which, case in list(enumerate((baseline, Case(ROOT))))[:: 1 if number % 2 else -1]:
            of_help[number, which] = seconds_of_help(case)
        print(times[number].round(2).tolist(), "help", of_help[number].round(2).tolist(), flush=True)
    result: dict[str, object] = {"help_s": np.median(of_help, axis=0).round(2).tolist()}
    result["help"] = median_ratio(of_help[:, 1] / of_help[:, 0])
    for which, name in enumerate(cases):
        seconds, of_processors = np.median(times[:, which], axis=0).round(2).tolist()
        of_case: dict[str, object] = {"first_step_s": seconds, "processors_s": of_processors}
        if which:
            ratios = times[:, which] / times[:, 0]
            of_case |= {"first_step": median_ratio(ratios[:, 0]), "processors": median_ratio(ratios[:, 1])}
        result[name] = of_case
    result["empty_over_full_cache"] = median_ratio(times[:, 1, 0] / times[:, 2, 0])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", nargs="?", type=pathlib.Path, metavar="OTHER", help="checkout to compare with")
    parser.add_argument("--rounds", type=int, default=NUM_ROUNDS, metavar="N")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    num_rounds = 1 if args.quick else args.rounds
    result: dict[str, object] = {"machine": machine(), "rounds": num_rounds}
    with tempfile.TemporaryDirectory() as caches:
        result |= measured(args.other and args.other.resolve(), pathlib.Path(caches), num_rounds)
    print(result)
    if not args.quick:
        write(result, RESULTS / "startup-cpu.json")


if __name__ == "__main__":
    main()
