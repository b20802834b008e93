# SPDX-License-Identifier: Apache-2.0
"""What two equal runs have in common."""

import pathlib

from ntl_jax.metrics import read_lines
from ntl_jax.metrics.samples.log import SAMPLES_FILE

TIMES = ("timing_s", "perf")
"""How the names of metrics begin that no two runs have in common."""


def left_by(folder: pathlib.Path) -> tuple[list[dict], dict[str, str]]:
    """Everything that a run wrote of itself, except times: its metrics, and the texts of its other files."""
    lines = [
        {name: value for name, value in line.items() if not name.startswith(TIMES)}
        for line in read_lines(folder / "metrics.jsonl")
    ]
    others = [folder / "reward_errors.jsonl", *sorted((folder / "evaluations").iterdir())]
    samples = (folder / SAMPLES_FILE).read_bytes().hex()
    return lines, {SAMPLES_FILE: samples} | {path.name: path.read_text() for path in others}
