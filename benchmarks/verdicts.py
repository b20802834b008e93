# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks/gpu.sh` finds: a line for each claim, a JSON file for each row, and one table of all.

    python -m benchmarks.verdicts FOLDER   # the table of the rows in a folder; exit code 1 if a line is FAIL

It loads nothing but the standard library, so that it also reports rows that could not start.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ENDED = {"124": "ran past its time limit", "137": "ran past its time limit and was killed"}
"""What ``timeout`` exits with."""


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
    lines = [{**verdict._asdict(), "status": verdict.status, "line": verdict.line} for verdict in verdicts]
    text = json.dumps({"row": row, "verdicts": lines, **details}, indent=2)
    (folder / f"{row}.json").write_text(text + "\n")
    for verdict in verdicts:
        print(verdict.line, flush=True)


def table(folder: pathlib.Path) -> list[tuple[str, str]]:
    """(row, line) of every claim in a folder; ROW.rc holds the exit code of each row that was started."""
    lines: list[tuple[str, str]] = []
    for ended in sorted(folder.glob("*.rc"), key=lambda path: path.stat().st_mtime_ns):
        row, code = ended.stem, ended.read_text().strip()
        file = ended.with_suffix(".json")
        if code == "0" and file.exists():
            lines += [(row, verdict["line"]) for verdict in json.loads(file.read_text())["verdicts"]]
        elif code.startswith("SKIP"):
            lines.append((row, code))
        else:
            lines.append((row, f"FAIL  {ENDED.get(code, f'ended with exit code {code}')}; see {row}.log"))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="The table of the rows in a folder.")
    parser.add_argument("folder", type=pathlib.Path)
    lines = table(parser.parse_args().folder)
    width = max((len(row) for row, _ in lines), default=0)
    for row, line in lines:
        print(f"{row:<{width}}  {line}")
    return int(not lines or any(line.startswith("FAIL") for _, line in lines))


if __name__ == "__main__":
    sys.exit(main())
