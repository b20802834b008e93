# SPDX-License-Identifier: Apache-2.0
"""The tokens that end a response: the union of those in a checkpoint's files and its tokenizer."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ntl_jax.models.hf.json_object import read_object

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
        ValueError: if a file is not a JSON object, or its value is not an id or a list of ids, or an id lies beyond the
            ``vocab_size`` of config.json.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "config.json").write_text('{"eos_token_id": [2, 7]}')
        >>> _ = (folder / "generation_config.json").write_text('{"eos_token_id": 7}')
        >>> end_token_ids(folder)
        (7, 2)
    """
    ids = [tokenizer.eos_token_id] if tokenizer is not None and isinstance(tokenizer.eos_token_id, int) else []
    files = [] if folder is None else [path for path in (folder / GENERATION, folder / CONFIG) if path.is_file()]
    contents = {path: read_object(path) for path in files}
    num_ids = None if folder is None else contents.get(folder / CONFIG, {}).get("vocab_size")
    for path, settings in contents.items():
        ids += _named_in(settings, path, num_ids if isinstance(num_ids, int) else None)
    return tuple(dict.fromkeys(ids))


def with_end_tokens(settings: Mapping[str, object], ids: tuple[int, ...]) -> Mapping[str, object]:
    """The contents of a generation_config.json with these end tokens; unchanged if it already has them."""
    if not ids or set(_as_list(settings.get(EOS))) == set(ids):
        return settings
    return {**settings, EOS: ids[0] if len(ids) == 1 else list(ids)}


def _named_in(settings: Mapping[str, object], path: pathlib.Path, num_ids: int | None) -> list[int]:
    named = _as_list(settings.get(EOS))
    ids = [i for i in named if isinstance(i, int) and not isinstance(i, bool) and i >= 0]
    if len(ids) < len(named):
        raise ValueError(
            f"{path}: {EOS}={settings[EOS]!r} must be a token id or a list of token ids, whole numbers from 0: correct "
            "it, or take the key out"
        )
    if num_ids is not None and ids and max(ids) >= num_ids:
        raise ValueError(
            f"{path}: {EOS}={settings[EOS]!r} must be below the model's vocab_size={num_ids}: correct it, or take the "
            "key out"
        )
    return ids


def _as_list(named: object) -> list[object]:
    return [] if named is None else named if isinstance(named, list) else [named]
