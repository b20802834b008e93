# SPDX-License-Identifier: Apache-2.0
"""JSON files of a checkpoint folder, each of which holds one object."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """The contents of a file.

    Args:
        path: the file, in UTF-8.

    Raises:
        ValueError: naming the file, if it cannot be read or holds anything else than one JSON object.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "generation_config.json"
        >>> _ = path.write_text('{"eos_token_id": 7}')
        >>> read_object(path)
        {'eos_token_id': 7}
    """
    try:
        contents = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # bytes that are not UTF-8 are a ValueError too
        raise ValueError(f"{path} is not a JSON object: {error}; copy or download it again") from error
    if not isinstance(contents, dict):
        kind = {list: "a list", str: "a string", type(None): "null"}.get(type(contents), "a number or boolean")
        raise ValueError(f"{path} is not a JSON object: it holds {kind}; copy or download it again")
    return contents


def write_object(path: pathlib.Path, contents: Mapping[str, object]) -> None:
    """Writes an object to a file."""
    path.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
