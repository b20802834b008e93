# SPDX-License-Identifier: Apache-2.0
"""Rows of JSON: one object a line, one array of objects, or one object that holds such an array.

Rows of JSON lines end only at a line feed: texts contain other characters that Unicode counts as line ends.
"""

import json
from collections.abc import Callable, Iterator

from ntl_jax.data.files.row import Row, type_name

ERRORS = (ValueError, RecursionError)
"""What reading JSON raises."""


def json_lines(content: bytes, name: str) -> Iterator[Row]:
    r"""The rows of JSON lines; blank lines are skipped.

    Args:
        content: of the file.
        name: of the file.

    Example:
        >>> [row.place for row in json_lines(b'{"question": "1?"}\n\n{"question": "2?"}\n', "train.jsonl")]
        ['train.jsonl:1', 'train.jsonl:3']
    """
    for i, line in enumerate(content.split(b"\n")):
        if not line.strip():
            continue
        try:
            value = _as_row(json.loads(line))
        except UnicodeDecodeError as error:
            value = f"not UTF-8: {error.reason} at byte {error.start}"
        except ERRORS as error:
            value = f"bad JSON: {error}"
        yield Row(i, f"{name}:{i + 1}", value)


def json_document(document: object, name: str, is_row: Callable[[dict[str, object]], bool]) -> Iterator[Row]:
    """The rows of a whole document: those of an array, or of the only array in an object; else the object is a row.

    Args:
        document: what the file holds.
        name: of the file.
        is_row: whether an object has the fields of a row.

    Raises:
        ValueError: for a document that holds no rows or several arrays of them, in words that follow the name.

    Example:
        >>> [row.place for row in json_document({"rows": [{"question": "1?"}]}, "a.json", lambda row: False)]
        ['a.json, row 1']
    """
    if isinstance(document, dict):
        arrays = {key: value for key, value in document.items() if _holds_objects(value)}
        if is_row(document) or not arrays:
            yield Row(0, f"{name}:1", document)
            return
        if len(arrays) > 1:
            raise ValueError(f"holds several arrays of rows, {', '.join(arrays)}: write the one to read to a file")
        (document,) = arrays.values()
    if not isinstance(document, list):
        raise ValueError(f"holds {type_name(document)}: it must hold an array of objects")
    for i, value in enumerate(document):
        yield Row(i, f"{name}, row {i + 1}", _as_row(value))


def _as_row(value: object) -> dict[str, object] | str:
    return value if isinstance(value, dict) else f"must be a JSON object, is {type_name(value)}"


def _holds_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
