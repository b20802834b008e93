# SPDX-License-Identifier: Apache-2.0
"""The divergence log: a file of JSON lines that is rotated by size, and a readable block in the Python log."""

import datetime
import json
import logging
import os
import pathlib
import re
from collections.abc import Sequence

from ntl_jax.config.sections.divergence import FIELD
from ntl_jax.metrics.atomic_files import as_line, write_whole
from ntl_jax.metrics.divergence.lines import Line

LOGGER = logging.getLogger("ntl_jax.divergence")
"""The logger of the blocks."""
MEGABYTE = 1_000_000
_WRITTEN = {"iteration": r"(-?\d+|none)", "date": r"\d{4}-\d\d-\d\d"}


class DivergenceLog:
    """Appends lines to a file, whose folders are made; the file appears with the first line.

    Args:
        path: may hold ``{iteration}``, ``{iteration:06d}`` and ``{date}`` (of the day, as 2026-11-30), which are filled
            in for each block.
        max_megabytes: a file that is longer becomes ``FILE.1`` before the next block, ``FILE.1`` becomes ``FILE.2``,
            and so on; no line is lost.

    Raises:
        OSError: if the file cannot be written, at once.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> DivergenceLog(folder / "by_day" / "{iteration}.jsonl").write([{"iteration": 3, "rank": 0}], 3)
        >>> (folder / "by_day" / "3.jsonl").read_text()
        '{"iteration": 3, "rank": 0}\\n'
    """

    def __init__(self, path: str | pathlib.Path, max_megabytes: float = 100.0):
        self._path, self._max_bytes = str(path), max_megabytes * MEGABYTE
        first = self._at(0)
        existed = first.exists()
        first.parent.mkdir(parents=True, exist_ok=True)
        with first.open("ab"):  # raises where nothing can be written
            pass
        if not existed:
            first.unlink()

    def write(self, lines: Sequence[Line], iteration: int | None) -> None:
        """Appends one block of lines, whole."""
        path = self._at(iteration)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size >= self._max_bytes:
            _rotate(path)
        with path.open("ab") as file:
            file.write("".join(map(as_line, lines)).encode())

    def cut_back(self, iteration: int) -> None:
        """Removes the lines of later iterations and a torn last line, in all files: a resumed run writes them again."""
        for path in written_files(self._path):
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if _is_kept(line, iteration)]
            if not kept:
                path.unlink()
            elif len(kept) < len(lines):
                write_whole(path, b"".join(kept))

    def _at(self, iteration: int | None) -> pathlib.Path:
        today = datetime.date.today().isoformat()

        def filled(field: re.Match[str]) -> str:
            if field["name"] == "date":
                return today
            return "none" if iteration is None else format(iteration, field["form"] or "d")

        return pathlib.Path(FIELD.sub(filled, self._path))


def written_files(path: str | pathlib.Path, ends: str = "") -> list[pathlib.Path]:
    r"""The files that a log of this path has written, the rotated ones too, by name.

    Args:
        path: as given to `DivergenceLog`.
        ends: a regular expression of what may follow a file's name.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("log-3.jsonl", "log-3.jsonl.1", "log-x.jsonl"):
        ...     (folder / name).touch()
        >>> [file.name for file in written_files(folder / "log-{iteration}.jsonl")]
        ['log-3.jsonl', 'log-3.jsonl.1']
    """
    pattern, end, text = "", 0, str(path)
    for field in FIELD.finditer(text):
        pattern += re.escape(text[end : field.start()]) + _WRITTEN[field["name"].partition(":")[0]]
        end = field.end()
    name = re.compile(pattern + re.escape(text[end:]) + rf"(\.\d+)?{ends}")
    start, in_folders = pathlib.Path(FIELD.split(text)[0] + "x").parent, FIELD.search(str(pathlib.Path(text).parent))
    found = start.rglob("*") if in_folders else start.glob("*")
    return sorted(file for file in found if name.fullmatch(str(file)) and file.is_file())


def _rotate(path: pathlib.Path) -> None:
    newest = 1
    while path.with_name(f"{path.name}.{newest}").exists():
        newest += 1
    for number in range(newest, 1, -1):
        os.replace(path.with_name(f"{path.name}.{number - 1}"), path.with_name(f"{path.name}.{number}"))
    os.replace(path, path.with_name(f"{path.name}.1"))


def _is_kept(line: bytes, iteration: int) -> bool:
    """Lines begin with their iteration, unless someone else wrote them."""
    if not line.endswith(b"\n"):
        return False
    try:
        written = json.loads(line).get("iteration")
    except (ValueError, AttributeError):
        return True
    return not isinstance(written, int) or written <= iteration


def describe(lines: Sequence[Line]) -> str:
    """The lines of one iteration for people.

    Example:
        >>> line = {"rank": 0, "iteration": 3, "batch_idx": 7, "position": 4, "sequence_length": 9, "token_id": 21,
        ...         "token_text": "5", "rollout_prob": 0.9, "actor_prob": 0.05, "is_correct": True,
        ...         "flip_type": "rollout_confident_actor_rejects", "context_text": "is 5."}
        >>> print(describe([line]))
        sampler and trainer disagree in iteration 3; the most divergent tokens:
          0. '5' (id 21) at 4 of 9 in sample 7: sampler 0.9000, trainer 0.0500, rollout_confident_actor_rejects,
             answer right; in 'is 5.'
    """
    when = "" if lines[0]["iteration"] is None else f" in iteration {lines[0]['iteration']}"
    blocks = [f"sampler and trainer disagree{when}; the most divergent tokens:"]
    for line in lines:
        token = f"id {line['token_id']}" if line["token_text"] is None else repr(line["token_text"])
        known = "" if line["token_text"] is None else f" (id {line['token_id']})"
        judged = {None: "answer not judged", True: "answer right", False: "answer wrong"}[line["is_correct"]]
        blocks.append(
            f"  {line['rank']}. {token}{known} at {line['position']} of {line['sequence_length']} in sample "
            f"{line['batch_idx']}: sampler {_shown(line['rollout_prob'])}, trainer {_shown(line['actor_prob'])}, "
            f"{line['flip_type']},\n     {judged}" + _within(line["context_text"])
        )
    return "\n".join(blocks)


def _shown(probability: float | None) -> str:
    return "not finite" if probability is None else f"{probability:.4f}"


def _within(context: str | None) -> str:
    return "" if context is None else f"; in {context!r}"
