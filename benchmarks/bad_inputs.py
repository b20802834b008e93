# SPDX-License-Identifier: Apache-2.0
"""How ten wrong command lines are answered by processes of their own, and after how many seconds.

Claim: each is answered with one line, without a traceback, with a code other than 0, within 10 s; what the command line
alone shows, within 2 s. The table of all wrong inputs, tests/launch/bad_inputs, is run in process by the tests.

    python -m benchmarks.bad_inputs
    python -m benchmarks.bad_inputs --quick   # three of them, nothing is written
"""

import argparse
import importlib
import os
import pathlib
import pkgutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from tests.launch import bad_inputs
from tests.launch.bad_inputs.case import BadInput

ROOT = pathlib.Path(__file__).resolve().parents[1]
BY_NAME: dict[str, BadInput] = {
    case.name: case
    for module in pkgutil.iter_modules(bad_inputs.__path__)
    if module.name != "case"
    for case in importlib.import_module(f"tests.launch.bad_inputs.{module.name}").CASES
}
PROCESSES = (
    "a setting without --",
    "a file with a syntax error",
    "a cache beyond memory",
    "a setting twice",
    "a width beyond memory",
    "prompts that are all too long",
    "a tokenizer that is not there",
    "eval: a checkpoint of a model",
    "eval: a folder that is in use",
    "export: a run without a checkpoint",
)
"""Names of rows of the table; the first three are run by the tests."""
LIMIT_S = 120


class Answer(NamedTuple):
    """What a process answered.

    Args:
        code: its exit code.
        seconds: until it ended.
        num_errors: how often it says "error: ".
        missing: what the answer should name, and does not.
        text: what it wrote to standard error.
    """

    code: int
    seconds: float
    num_errors: int
    missing: list[str]
    text: str


def answer(case: BadInput, folder: pathlib.Path) -> Answer:
    """Runs the command in a process, in the folder.

    Args:
        case: a row of the table.
        folder: a fresh one.
    """
    command = [sys.executable, str(ROOT / "launch" / f"{case.command}.py"), *case.set_up(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    seconds = time.perf_counter() - begin
    num_errors = ended.stderr.count("error: ") if "Traceback" not in ended.stderr else 0
    return Answer(ended.returncode, round(seconds, 2), num_errors, case.missing(ended.stderr, folder), ended.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    from benchmarks.measure import RESULTS, machine, write  # imports JAX, which the tests' processes need not wait for

    rows = {}
    for name in PROCESSES[:3] if args.quick else PROCESSES:
        with tempfile.TemporaryDirectory() as folder:
            found = answer(BY_NAME[name], pathlib.Path(folder))
        rows[name] = {
            "code": found.code,
            "seconds": found.seconds,
            "clear": found.num_errors == 1 and not found.missing,
        }
        print(name, rows[name], found.text.strip(), flush=True)
    if not args.quick:
        write({"machine": machine(), "processes": rows}, RESULTS / "bad_inputs-cpu.json")


if __name__ == "__main__":
    main()
