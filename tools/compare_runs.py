# SPDX-License-Identifier: Apache-2.0
"""Compares two run folders: python tools/compare_runs.py RUN1 RUN2

Every line of metrics.jsonl, samples.jsonl.gz and evaluations/ must be the same, except for times. With --tolerance,
numbers may differ by that much, relative or absolute.
"""

import argparse
import gzip
import json
import math
import pathlib
import sys
from collections.abc import Iterator, Sequence

UNEQUAL = ("timing_s/", "perf/throughput", "perf/max_memory_", "perf/cpu_memory_", "pool/")
"""Prefixes of metrics that always differ between runs."""
MOST_LISTED = 20


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 the runs agree, 1 they differ, 2 a folder holds no run.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", type=pathlib.Path, nargs=2)
    parser.add_argument("--tolerance", type=float, default=0.0, metavar="X", help="relative or absolute; default 0")
    parser.add_argument("--steps", type=int, metavar="N", help="only the first N steps of each stage")
    args = parser.parse_args(argv)
    if absent := [run for run in args.runs if not (run / "metrics.jsonl").is_file()]:
        print(f"error: {absent[0]} holds no run: give a folder with a metrics.jsonl", file=sys.stderr)
        return 2
    first, second = (dict(_lines(run, args.steps)) for run in args.runs)
    differing = [f"{name}: only in {args.runs[name in second]}" for name in first.keys() ^ second.keys()]
    for name in first.keys() & second.keys():
        differing += [f"{name}: {what}" for what in differences(first[name], second[name], args.tolerance)]
    print(*sorted(differing)[:MOST_LISTED], sep="\n", end="\n" if differing else "")
    print(f"{len(first)} lines compared, {len(differing)} differences")
    return 1 if differing else 0


def differences(first: object, second: object, tolerance: float, at: str = "") -> Iterator[str]:
    """Where two JSON values differ, by path.

    Example:
        >>> first, second = {"loss": [1.0, 2.0], "timing_s/step": 1.0}, {"loss": [1.0, 2.5], "timing_s/step": 2.0}
        >>> list(differences(first, second, 0.1))
        ['loss.1: 2.0, 2.5']
    """
    if isinstance(first, dict) and isinstance(second, dict):
        for key in [*first, *(second.keys() - first.keys())]:
            if not key.startswith(UNEQUAL):
                yield from differences(first.get(key), second.get(key), tolerance, f"{at}.{key}")
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, pair in enumerate(zip(first, second, strict=True)):
            yield from differences(*pair, tolerance, f"{at}.{index}")
    elif not _same(first, second, tolerance):
        yield f"{at.removeprefix('.')}: {first!r:.80}, {second!r:.80}"


def _same(first: object, second: object, tolerance: float) -> bool:
    if tolerance and isinstance(first, int | float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=tolerance, abs_tol=tolerance)
    return first == second


def _lines(run: pathlib.Path, steps: int | None) -> Iterator[tuple[str, object]]:
    """Every line of a run's files, by the file's name and the line's number."""
    for path in [run / "metrics.jsonl", run / "samples.jsonl.gz", *sorted(run.glob("evaluations/*.jsonl"))]:
        if not path.is_file():
            continue
        of_file = path.stem.rpartition("-")[2] if path.parent != run else "0"  # evaluations/STAGE-STEP.jsonl
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for number, text in enumerate(content.decode().split("\n"), 1):
            line = json.loads(text) if text else None
            if line is not None and (steps is None or line.get("step", int(of_file)) <= steps):
                yield f"{path.relative_to(run).as_posix()}:{number}", line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
