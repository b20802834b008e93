# SPDX-License-Identifier: Apache-2.0
"""Runs that are harmed and resumed, checkpoints that are damaged, and what a long run leaves behind.

Claims: a run that is killed, signalled or refused space or access at any of 100 points ends bit-identical to the run
that was left alone; each of 60 flipped bits and cut files of a checkpoint is noticed and said, and the one before it is
used; over 500 iterations memory grows by at most 2%, and no file and no process stays open.

    python -m benchmarks.reliability            # the whole campaign: about 10 minutes on two cores
    python -m benchmarks.reliability --quick    # a few of each: does it run?
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.measure import RESULTS, machine, write
from benchmarks.reliability_runs import CODES, PLACES, SETTINGS, Harm, left_by, run
from launch import train
from ntl_jax.config import stored_config
from ntl_jax.metrics import read_lines
from ntl_jax.train.checkpoints.checkpointer import restore_policy
from ntl_jax.train.policy import build_policy

LIVES = 5
"""Harms in a row before a run is left to end."""
SAID = {"no space": "larger than allowed", "not writable": "Permission denied"}
EARLY, LATE = 0.2, 1.0
"""Parts of a long run whose memory is compared: the tenth of it that ends at each."""


def harms(count: int, rng: np.random.Generator) -> Iterator[Harm]:
    """Every kind at every place in turn, each at one of the first calls."""
    pairs = [(kind, place) for place in PLACES for kind in CODES]
    order = [pairs[i] for i in rng.permutation(len(pairs))]
    for number in range(count):
        kind, place = order[number % len(order)]
        yield Harm(kind, place, int(rng.integers(1, 3)))


def kill_points(count: int, folder: pathlib.Path, whole: dict[str, Any]) -> dict[str, Any]:
    """Harms runs, resumes them, and compares their ends with that of the run that was left alone."""
    rng, done, unmet = np.random.default_rng(0), Counter[str](), Counter[str]()
    wrong: list[str] = []
    todo, number = list(harms(count, rng)), 0
    while todo:
        lives, todo, number = todo[:LIVES], todo[LIVES:], number + 1
        of_run = folder / f"run{number}"
        for harm in lives:
            code, said = run(of_run, harm)
            if code == 0:  # the run ended before the place was reached so often: first in the next run
                unmet[harm.place] += 1
                todo.insert(0, harm)
                continue
            done[f"{harm.kind} {harm.place}"] += 1
            if code != CODES[harm.kind] or "Traceback" in said or SAID.get(harm.kind, "") not in said:
                wrong.append(f"{harm}: exit code {code}, {said[-500:]}")
        code, said = run(of_run)
        if code or left_by(of_run) != whole:
            wrong.append(f"run {number} after {lives}: exit code {code}, {said[-500:]}")
        shutil.rmtree(of_run)
        print(number, sum(done.values()), dict(unmet), wrong[-1:], flush=True)
    return {"points": sum(done.values()), "kinds": dict(done), "runs": number, "wrong": wrong}


def damages(count: int, whole: pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
    """Flips a bit of, or cuts, every file of the newest checkpoint in turn."""
    rng, missed = np.random.default_rng(1), []
    shapes = build_policy(stored_config(whole)).shapes()
    newest = max((whole / "checkpoints" / "ppo").iterdir(), key=lambda path: int(path.name))
    files = sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    before = restore_policy(whole, shapes, say=lambda _: None)[1]
    for number in range(count):
        copy = pathlib.Path(shutil.copytree(whole, folder / "damaged"))
        path = copy / files[number % len(files)].relative_to(whole)
        contents = bytearray(path.read_bytes())
        if number % 3 == 2:
            del contents[int(rng.integers(len(contents))) :]
        else:
            contents[int(rng.integers(len(contents)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(contents)
        said: list[str] = []
        step = restore_policy(copy, shapes, say=said.append)[1]
        if step != before - 1 or len(said) != 1 or " is damaged: " not in said[0]:
            missed.append(f"{path.relative_to(copy)}: {said}")
        shutil.rmtree(copy)
    return {"damages": count, "files": len(files), "missed": missed}


def resumed_after_damage(whole: pathlib.Path, folder: pathlib.Path, ends: dict[str, Any]) -> bool:
    """Whether a run whose newest checkpoint has an empty manifest goes on from the one before to the same end."""
    copy = pathlib.Path(shutil.copytree(whole, folder / "resumed"))
    newest = max((copy / "checkpoints" / "ppo").iterdir(), key=lambda path: int(path.name))
    (newest / "manifest.json").write_text("{}")
    code, said = run(copy)
    return code == 0 and "is damaged: " in said and left_by(copy) == ends


def long_run(iterations: int, folder: pathlib.Path) -> dict[str, Any]:
    """Memory and open files of this process early and late in a run."""
    seen: list[tuple[int, int]] = []

    def look(*_: object, **__: object) -> None:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        seen.append((pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))))

    children = set(_children())
    options = {"trainer.steps": iterations, "trainer.save_every": 50, "trainer.eval_every": 50}
    given = [f"--config.{name}={value}" for name, value in (SETTINGS | options).items()]
    with _called_after_steps(look):
        begin = time.perf_counter()
        code = train.main([f"--workdir={folder}", "--config=gsm8k_ntl", *given])
        seconds = time.perf_counter() - begin
    assert code == 0 and len(read_lines(folder / "metrics.jsonl")) >= iterations
    ends, width = (int(EARLY * iterations), int(LATE * iterations)), iterations // 10
    early, late = (np.array(seen[end - width : end]) for end in ends)
    return {
        "iterations": iterations,
        "seconds": round(seconds, 1),
        "memory_bytes": [int(np.median(part[:, 0])) for part in (early, late)],
        "growth": round(float(np.median(late[:, 0]) / np.median(early[:, 0]) - 1), 4),
        "open_files": [int(np.median(part[:, 1])) for part in (early, late)],
        "processes_left": len(set(_children()) - children),
    }


@contextlib.contextmanager
def _called_after_steps(look: Any) -> Iterator[None]:
    from ntl_jax.train.stages.policy_optimization import PPOTrainer

    step = PPOTrainer.step

    def looking(self: PPOTrainer) -> Any:
        result = step(self)
        look()
        return result

    PPOTrainer.step = looking
    try:
        yield
    finally:
        PPOTrainer.step = step


def _children() -> list[str]:
    tasks = pathlib.Path("/proc/self/task").glob("*/children")
    return [pid for path in tasks for pid in path.read_text().split()]


def measure(points: int, num_damages: int, iterations: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        code, said = run(folder / "whole")
        assert code == 0, said
        whole = left_by(folder / "whole")
        result: dict[str, Any] = {"damage": damages(num_damages, folder / "whole", folder)}
        result["resumed after damage"] = resumed_after_damage(folder / "whole", folder, whole)
        result["long run"] = long_run(iterations, folder / "long")
        result["kill points"] = kill_points(points, folder, whole)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few of each, and no file")
    args = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    about = machine()
    sizes = (10, 12, 60) if args.quick else (100, 60, 500)
    result = measure(*sizes) | {"machine": about}
    if args.quick:
        print(json.dumps(result, indent=2))
    else:
        write(result, RESULTS / "reliability-cpu.json")


if __name__ == "__main__":
    main()
