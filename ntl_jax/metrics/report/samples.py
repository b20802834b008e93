# SPDX-License-Identifier: Apache-2.0
"""The logged samples of a run for a page: as many iterations as fit, each as it is in the file."""

import gzip
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntl_jax.metrics.atomic_files import as_plain
from ntl_jax.metrics.names import STAGES
from ntl_jax.metrics.report.blocks import Blocks
from ntl_jax.metrics.report.digits import Digit, count_digits, digits_of
from ntl_jax.metrics.samples.log import SAMPLES_FILE
from ntl_jax.metrics.samples.members import Member, read_members

MOST_BYTES = 12 * 2**20
"""Of the packed samples of a page, which base64 makes a third larger: a page stays below 20 MB. Beyond it, iterations
are left out evenly."""


def add_samples(
    folder: pathlib.Path, blocks: Blocks, notes: list[str], most_bytes: int = MOST_BYTES
) -> tuple[list[list[Any]], dict[str, Any] | None]:
    """Adds the samples of a run to a page.

    Args:
        folder: the run folder.
        blocks: of the page.
        notes: gets a line for what is left out.
        most_bytes: packed, of these samples together.

    Returns:
        Stage, step and name of the block of every iteration that is on the page, in order; and the counts of the
        digits of all logged iterations, None if there are none.

    Example: see `read_run`.
    """
    path = folder / SAMPLES_FILE
    if not path.exists():
        return [], None
    try:
        members = {(STAGES.index(member.stage), member.step): member for member in read_members(path)}
    except OSError as error:
        notes.append(f"{path.name} cannot be read ({error.strerror})")
        return [], None
    if path.stat().st_size > sum(len(member.packed) for member in members.values()):
        notes.append(f"{path.name}: parts that are incomplete, damaged or written twice are left out")
    in_order = [members[place] for place in sorted(members)]
    read = [_read(member) for member in in_order]
    if num_bad := sum(num_bad for _, _, num_bad in read):
        notes.append(f"{path.name}: {num_bad} line{'s' * (num_bad > 1)} cannot be read and are left out")
    digits = [list(_digits(groups)) for _, groups, _ in read]
    steps = [member.step for member in in_order]
    sizes = [len(packed) for packed, _, _ in read]
    shown = _shown(sizes, most_bytes)
    if len(shown) < len(read):
        notes.append(f"{path.name} is large: the page has the samples of {len(shown)} of {len(read)} iterations")
    on_page = [[in_order[i].stage, steps[i], blocks.add_packed(read[i][0])] for i in shown]
    return on_page, count_digits(steps, digits)


def _read(member: Member) -> tuple[bytes, list[dict[str, Any]], int]:
    """What a browser can read of a member, packed; its groups; and how many lines cannot be read."""
    groups, strict = [], True

    def constant(_: str) -> None:
        nonlocal strict
        strict = False

    for line in member.lines:
        try:
            group = json.loads(line, parse_constant=constant)
        except (ValueError, RecursionError):
            continue
        if isinstance(group, dict):
            groups.append(group)
    num_bad = len(member.lines) - len(groups)
    if strict and not num_bad:
        return member.packed, groups, 0
    lines = "\n".join(json.dumps(as_plain(group), ensure_ascii=True, allow_nan=False) for group in groups)
    return gzip.compress(lines.encode(), mtime=0), groups, num_bad


def _digits(groups: Sequence[dict[str, Any]]) -> list[Digit]:
    digits = []
    for group in groups:
        samples = group.get("samples")
        for sample in samples if isinstance(samples, list) else ():
            try:
                digits += digits_of(sample)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError):  # of another version, or damaged
                continue
    return digits


def _shown(sizes: Sequence[int], most_bytes: int) -> list[int]:
    """Evenly spaced indices of the parts that fit together, the last among them."""
    for count in range(len(sizes), 0, -max(1, len(sizes) // 100)):
        chosen = np.unique(np.linspace(len(sizes) - 1, 0, count).round().astype(int)).tolist()
        if sum(sizes[i] for i in chosen) <= most_bytes:
            return chosen
    return []
