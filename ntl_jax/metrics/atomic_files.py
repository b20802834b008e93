# SPDX-License-Identifier: Apache-2.0
"""Atomic writes of whole files: complete or absent, even if the process dies."""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a text to a temporary file, which then replaces the file.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "config.json"
        >>> write_whole(path, "{}")
        >>> path.read_text(), [file.name for file in path.parent.iterdir()]
        ('{}', ['config.json'])
    """
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_rows(path: pathlib.Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Writes one JSON object per line.

    Args:
        path: path of the file; its folder is created if missing.
        rows: plain values, without NaN and infinity, which JSON does not have.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "evaluations" / "ppo-000040.jsonl"
        >>> write_rows(path, [{"answer": "72"}, {"answer": None}])
        >>> path.read_text().splitlines()
        ['{"answer": "72"}', '{"answer": null}']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))
