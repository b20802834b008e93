# SPDX-License-Identifier: Apache-2.0
"""Atomic writes of whole files: complete or absent, even if the process dies."""

import json
import math
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Mapping

import numpy as np


def write_whole(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a text in UTF-8, or bytes, to a temporary file, which then replaces the file.

    Raises:
        OSError: if it cannot be written; nothing of it is left then.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "config.json"
        >>> write_whole(path, "{}")
        >>> path.read_text(), [file.name for file in path.parent.iterdir()]
        ('{}', ['config.json'])
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


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
    write_whole(path, "".join(map(as_line, rows)))


def as_line(row: Mapping[str, object]) -> str:
    r"""A JSON object as one line of a file, which any reader of lines and any terminal can take.

    Characters that cannot be seen (``str.isprintable``) are written as JSON's escapes: further ends of lines that
    Unicode knows, controls of terminals, marks that turn the direction of writing, halves of characters, which UTF-8
    does not have. Spaces are kept, such as U+3000: texts consist of them, and they upset nothing.

    Example:
        >>> as_line({"text": "5\u2028é\x9b\n"})
        '{"text": "5\\u2028é\\u009b\\n"}\n'
    """
    line = json.dumps(row, ensure_ascii=False, allow_nan=False)
    if not line.isprintable():
        line = "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else json.dumps(c)[1:-1] for c in line)
    return f"{line}\n"


def as_plain(value: object) -> object:
    """Scalars, arrays and containers of them as JSON values: exact floats, null for NaN and infinity.

    Example:
        >>> as_plain({"loss": np.float32(0.5), "bounds": (np.nan, 1)})
        {'loss': 0.5, 'bounds': [None, 1]}
    """
    match value:
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): as_plain(item) for key, item in value.items()}
        case list() | tuple():
            return [as_plain(item) for item in value]
    array = np.asarray(value)
    plain = array.tolist()
    if array.dtype.kind in "biu" or (array.dtype.kind == "f" and np.isfinite(array).all()):
        return plain
    if isinstance(plain, list):
        return [as_plain(item) for item in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
