# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks/gpu.sh` finds: a line for each claim, and one JSON file and one table of all rows.

    python -m benchmarks.verdicts FOLDER FILE   # the rows in a folder into a file; exit code 1 if a line is FAIL

A row that was started leaves ROW.rc, its exit code, and ROW.log in the folder, and ROW.json if it came to its end. This
module loads nothing but the standard library, so that it also reports rows that could not start.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ENDED = {"124": "ran past its time limit", "137": "ran past its time limit and was killed"}
"""What ``timeout`` exits with."""
LOG_CHARACTERS = 3000  # of a row that failed: its traceback


class Verdict(NamedTuple):
    """A number beside its bound; one without a bound says why its row was left out."""

    claim: str
    value: float | None = None
    bound: float | None = None
    relation: str = ">="

    @property
    def status(self) -> str:
        if self.bound is None or self.value is None:
            return "SKIP"
        holds = self.value >= self.bound if self.relation == ">=" else self.value <= self.bound
        return "PASS" if holds else "FAIL"

    @property
    def line(self) -> str:
        comparison = "" if self.status == "SKIP" else f": {self.value:.4g} (bound: {self.relation} {self.bound:.4g})"
        return f"{self.status}  {self.claim}{comparison}"


def at_least(claim: str, value: float, bound: float) -> Verdict:
    return Verdict(claim, value, bound, ">=")


def at_most(claim: str, value: float, bound: float) -> Verdict:
    return Verdict(claim, value, bound, "<=")


def record(row: str, verdicts: Sequence[Verdict], details: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Prints a row's lines, and writes them and its numbers to its file."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [verdict._asdict() | {"status": verdict.status} for verdict in verdicts]
    result = {"lines": [verdict.line for verdict in verdicts], "verdicts": numbers, **details}
    (folder / f"{row}.json").write_text(json.dumps(result, indent=2) + "\n")
    for verdict in verdicts:
        print(verdict.line, flush=True)


def read_rows(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Every row that was started, in order; one that did not come to its end has a line that says how it ended."""
    rows: dict[str, dict[str, Any]] = {}
    for ended in sorted(folder.glob("*.rc"), key=lambda path: path.stat().st_mtime_ns):
        code, file, log = ended.read_text().strip(), ended.with_suffix(".json"), ended.with_suffix(".log")
        if code == "0" and file.exists():
            rows[ended.stem] = json.loads(file.read_text())
        elif code.startswith("SKIP"):
            rows[ended.stem] = {"lines": [code]}
        else:
            why = ENDED.get(code, f"ended with exit code {code}")
            text = log.read_text(errors="replace") if log.exists() else ""
            rows[ended.stem] = {"lines": [f"FAIL  {why}"], "log": text[-LOG_CHARACTERS:]}
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="The rows in a folder as one file and one table.")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("file", type=pathlib.Path)
    args = parser.parse_args()
    rows = read_rows(args.folder)
    args.file.write_text(json.dumps(rows, indent=2) + "\n")
    width = max(map(len, rows), default=0)
    lines = [(row, line) for row, result in rows.items() for line in result["lines"]]
    for row, line in lines:
        print(f"{row:<{width}}  {line}")
    return int(not lines or any(line.startswith("FAIL") for _, line in lines))


if __name__ == "__main__":
    sys.exit(main())
