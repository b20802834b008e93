# SPDX-License-Identifier: Apache-2.0
"""The tokens that end a response: the union of those in a checkpoint's files and its tokenizer."""

import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase  # takes seconds to import, and most callers pass no tokenizer

CONFIG, GENERATION = "config.json", "generation_config.json"
EOS = "eos_token_id"
"""Key in both files; its value is an id or a list of ids."""


def end_token_ids(folder: pathlib.Path | None, tokenizer: "PreTrainedTokenizerBase | None" = None) -> tuple[int, ...]:
    """All end tokens without duplicates: those of the tokenizer, generation_config.json and config.json, in this order.

    No single source is complete: chat checkpoints list the end-of-turn token in one and the end of text in another.

    Args:
        folder: the checkpoint's folder, or None. Either file may be missing.
        tokenizer: the tokenizer, or None.

    Raises:
        ValueError: if a file is not a JSON object, or its value is not an id or a list of ids.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "config.json").write_text('{"eos_token_id": [2, 7]}')
        >>> _ = (folder / "generation_config.json").write_text('{"eos_token_id": 7}')
        >>> end_token_ids(folder)
        (7, 2)
    """
    ids = [tokenizer.eos_token_id] if tokenizer is not None and isinstance(tokenizer.eos_token_id, int) else []
    for path in [] if folder is None else [folder / GENERATION, folder / CONFIG]:
        if path.is_file():
            ids += _named_in(path)
    return tuple(dict.fromkeys(ids))


def with_end_tokens(settings: Mapping[str, object], ids: tuple[int, ...]) -> Mapping[str, object]:
    """The contents of a generation_config.json with these end tokens; unchanged if it already has them."""
    if not ids or set(_as_list(settings.get(EOS))) == set(ids):
        return settings
    return {**settings, EOS: ids[0] if len(ids) == 1 else list(ids)}


def _named_in(path: pathlib.Path) -> list[int]:
    try:
        named = json.loads(path.read_text(encoding="utf-8")).get(EOS)
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"{path} is not a JSON object: {error}") from error
    ids = [i for i in _as_list(named) if isinstance(i, int) and not isinstance(i, bool) and i >= 0]
    if len(ids) < len(_as_list(named)):
        raise ValueError(f"{path}: {EOS}={named!r} must be a token id or a list of token ids")
    return ids


def _as_list(named: object) -> list[object]:
    return [] if named is None else named if isinstance(named, list) else [named]
