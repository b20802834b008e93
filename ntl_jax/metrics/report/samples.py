# SPDX-License-Identifier: Apache-2.0
"""The logged samples of a run for a page: as many iterations as fit, each as it is in the file."""

import gzip
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ntl_jax.metrics.atomic_files import as_plain
from ntl_jax.metrics.names import STAGES
from ntl_jax.metrics.report.blocks import COMPRESSION, Blocks
from ntl_jax.metrics.report.digits import Digit, count_digits, digits_of
from ntl_jax.metrics.samples.log import SAMPLES_FILE
from ntl_jax.metrics.samples.members import Member, read_members

MOST_BYTES = 12 * 2**20
"""Of the packed samples of a page, which base64 makes a third larger: a page stays below 20 MB. Beyond it, iterations
are left out evenly."""
OLDER_FILE = "samples.jsonl"
"""Of run folders up to format 6."""


class _Groups(NamedTuple):
    """The prompts of a step, packed as a browser can read them; their digits; how many lines are none."""

    packed: bytes
    digits: list[Digit]
    num_bad: int


def add_samples(
    folder: pathlib.Path, blocks: Blocks, notes: list[str], most_bytes: int = MOST_BYTES, *, is_running: bool = False
) -> tuple[list[list[Any]], dict[str, Any] | None]:
    """Adds the samples of a run to a page.

    Args:
        folder: the run folder.
        blocks: of the page.
        notes: gets a line for what is left out.
        most_bytes: packed, of these samples together.
        is_running: whether the run may be writing the end of the file.

    Returns:
        Stage, step and name of the block of every iteration that is on the page, in order; and the counts of their
        digits in policy optimization, None if there are none.

    Example: see `read_run`.
    """
    path = folder / SAMPLES_FILE
    if not path.exists():
        if (folder / OLDER_FILE).exists():
            notes.append(f"{OLDER_FILE}: the samples of an older version of ntl_jax are not shown")
        return [], None
    try:
        sizes = {_place(member): len(member.packed) for member in read_members(path)}
        num_bytes = path.stat().st_size
        shown = set(_fitting(sizes, most_bytes))
        kept = {_place(member): _read(member) for member in read_members(path) if _place(member) in shown}
    except OSError as error:
        notes.append(f"{path.name} cannot be read ({error.strerror})")
        return [], None
    if num_bytes > sum(sizes.values()) and not is_running:
        notes.append(f"{path.name}: parts that are incomplete, damaged or written twice are left out")
    if num_bad := sum(groups.num_bad for groups in kept.values()):
        notes.append(f"{path.name}: {num_bad} line{'s' * (num_bad > 1)} cannot be read and are left out")
    if len(kept) < len(sizes):
        notes.append(f"{path.name} is large: the page has the samples of {len(kept)} of {len(sizes)} iterations")
    on_page = [[STAGES[place[0]], place[1], blocks.add_packed(kept[place].packed)] for place in sorted(kept)]
    of_ppo = [place for place in sorted(kept) if STAGES[place[0]] == "ppo"]
    return on_page, count_digits([step for _, step in of_ppo], [kept[place].digits for place in of_ppo])


def _place(member: Member) -> tuple[int, int]:
    """For sorting: the number of the stage, and the step."""
    return STAGES.index(member.stage), member.step


def _read(member: Member) -> _Groups:
    is_strict, rows = True, []

    def constant(_: str) -> None:
        nonlocal is_strict
        is_strict = False

    for line in member.lines:
        try:
            row = json.loads(line, parse_constant=constant)
            if isinstance(row, dict):
                rows.append(as_plain(row))
        except (ValueError, RecursionError):
            continue
    num_bad = len(member.lines) - len(rows)
    if is_strict and not num_bad:
        return _Groups(member.packed, _digits(rows), 0)
    lines = "\n".join(json.dumps(row, allow_nan=False) for row in rows)
    return _Groups(gzip.compress(lines.encode(), COMPRESSION, mtime=0), _digits(rows), num_bad)


def _digits(rows: Sequence[dict[str, Any]]) -> list[Digit]:
    digits = []
    for row in rows:
        samples = row.get("samples")
        for sample in samples if isinstance(samples, list) else ():
            try:
                digits += digits_of(sample)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError):  # of another version, or damaged
                continue
    return digits


def _fitting(sizes: dict[tuple[int, int], int], most_bytes: int) -> list[tuple[int, int]]:
    """Evenly spaced places whose parts fit together, the last among them."""
    places = sorted(sizes)
    for count in range(len(places), 0, -max(1, len(places) // 100)):
        chosen = np.unique(np.linspace(len(places) - 1, 0, count).round().astype(int)).tolist()
        if sum(sizes[places[i]] for i in chosen) <= most_bytes:
            return [places[i] for i in chosen]
    return []
