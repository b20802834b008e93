# SPDX-License-Identifier: Apache-2.0
"""Reads the log of samples, member by member, and what is left of a damaged one."""

import contextlib
import json
import mmap
import os
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from ntl_jax.metrics import names

MAGIC = b"\x1f\x8b\x08"
"""How a gzip member begins."""
MOST_BYTES = 2**28
"""Of a member, uncompressed: a larger one is left out."""
CHUNK_BYTES = 2**16
_GZIP = 31
"""What zlib calls the format."""


class Member(NamedTuple):
    """The samples of one step.

    Args:
        stage: of the run.
        step: of the stage.
        end: offset of its end in the file.
        lines: its JSON objects, one per prompt, as bytes.
        packed: the member's bytes in the file.
    """

    stage: str
    step: int
    end: int
    lines: list[bytes]
    packed: bytes


def read_members(path: pathlib.Path) -> Iterator[Member]:
    """The members that can be read, in the order of the file; others are left out.

    Args:
        path: of the log.

    Raises:
        OSError: if the file cannot be read.

    Example: the end of the second member is missing
        >>> import gzip, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "samples.jsonl.gz"
        >>> whole = [gzip.compress(b'{"stage": "ppo", "step": %d}\\n' % step) for step in (1, 2)]
        >>> _ = path.write_bytes(whole[0] + whole[1][:-9])
        >>> [(member.step, member.lines) for member in read_members(path)]
        [(1, [b'{"stage": "ppo", "step": 1}'])]
    """
    start = 0
    with path.open("rb") as file, contextlib.ExitStack() as opened:
        if not os.fstat(file.fileno()).st_size:
            return  # nothing can be mapped
        content = opened.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        while (start := content.find(MAGIC, start)) >= 0:
            unpacked = _unpack(content, start)
            if unpacked is None:
                start += 1
                continue
            text, end = unpacked
            lines = text.splitlines()
            if (place := _place(lines)) is not None:
                yield Member(*place, end, lines, content[start:end])
            start = end


def read_groups(path: pathlib.Path) -> list[dict[str, Any]]:
    """The prompts with their samples, in the order of the file, as `LoggedGroup` writes them.

    Args:
        path: of the log.

    Raises:
        OSError: if the file cannot be read.
        ValueError: for a line that is not JSON.
    """
    return [json.loads(line) for member in read_members(path) for line in member.lines]


def _unpack(content: mmap.mmap, start: int) -> tuple[bytes, int] | None:
    """Text and end of the member that begins here; None: it is torn, damaged or too large."""
    unpacker, parts, size = zlib.decompressobj(_GZIP), [], 0
    while not unpacker.eof:
        chunk = content[start : start + CHUNK_BYTES]
        try:
            parts.append(unpacker.decompress(chunk, MOST_BYTES))
        except zlib.error:
            return None
        size, start = size + len(parts[-1]), start + len(chunk)
        if unpacker.unconsumed_tail or size > MOST_BYTES or not len(chunk):
            return None
    return b"".join(parts), start - len(unpacker.unused_data)


def _place(lines: list[bytes]) -> tuple[str, int] | None:
    """Stage and step, from the first line; None: it names none."""
    try:
        row = json.loads(lines[0])
        stage, step = row["stage"], row["step"]
    except (IndexError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return (stage, step) if stage in names.STAGES and type(step) is int else None
