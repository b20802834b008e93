# SPDX-License-Identifier: Apache-2.0
"""From a decoder to a folder that transformers and vLLM load."""

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
from flax import nnx

from ntl_jax.models.decoder import Decoder
from ntl_jax.models.hf.end_tokens import CONFIG, GENERATION, end_token_ids, with_end_tokens
from ntl_jax.models.hf.files import SINGLE_FILE
from ntl_jax.models.hf.names import hf_layout, hf_tensors
from ntl_jax.models.hf.safetensors import write_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase  # takes seconds to import, and most callers bring no tokenizer

COMPANIONS = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.jinja")
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def save_hf(
    decoder: Decoder,
    path: str | pathlib.Path,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    stop_token_ids: Sequence[int] = (),
) -> None:
    """Writes config.json, model.safetensors, the tokenizer and generation_config.json.

    The folder appears whole or not at all. Parameters keep their dtype: loading them again gives the same bits. Other
    files of the model are copied from the folder that the decoder was loaded from. generation_config.json lists all end
    tokens of that folder and of the tokenizer, which also end responses in training.

    Args:
        decoder: on any mesh whose devices this process reaches; fetched one tensor at a time.
        path: of the folder to make; it must not exist, or be empty.
        tokenizer: instead of the files of ``decoder.config.source``; needed by a decoder that was not loaded if a
            tokenizer is to travel along.
        stop_token_ids: end tokens to name beside those of the folder and the tokenizer.

    Raises:
        ValueError: for a folder that is not empty, or a source that is no longer there.
    """
    path, source = pathlib.Path(path).absolute(), decoder.config.source
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists already: name another folder, or remove it first")
    if source is not None and not pathlib.Path(source).is_dir():
        raise ValueError(
            f"{source}, where this model's tokenizer and generation settings came from, is gone: put it back, or save "
            "with dataclasses.replace(config, source=None) and tokenizer="
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
        folder = pathlib.Path(temporary, "model")
        folder.mkdir()
        _write_settings(decoder, folder, None if source is None else pathlib.Path(source), tokenizer, stop_token_ids)
        params = nnx.state(decoder, nnx.Param)
        dtypes = [leaf.dtype.name for leaf in jax.tree.leaves(params)]
        layout = {t.name: (dtype, t.stored_shape) for t, dtype in zip(hf_layout(params), dtypes, strict=True)}
        write_tensors(folder / SINGLE_FILE, layout, (array for _, array in hf_tensors(decoder)))
        os.replace(folder, path)


def _write_settings(
    decoder: Decoder,
    folder: pathlib.Path,
    source: pathlib.Path | None,
    tokenizer: "PreTrainedTokenizerBase | None",
    stop_token_ids: Sequence[int],
) -> None:
    ids: dict[str, Any] = {}
    generation: dict[str, Any] | None = None
    if source is not None:
        stored = json.loads((source / CONFIG).read_text(encoding="utf-8"))
        ids = {name: stored[name] for name in TOKEN_IDS if name in stored}
        if (source / GENERATION).is_file():
            shutil.copy(source / GENERATION, folder)
            generation = json.loads((source / GENERATION).read_text(encoding="utf-8"))
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
        ids = ids or {name: getattr(tokenizer, name) for name in TOKEN_IDS}
    elif source is not None:
        for companion in {path for pattern in COMPANIONS for path in source.glob(pattern) if path.is_file()}:
            shutil.copy(companion, folder)
    ends = tuple(dict.fromkeys([*end_token_ids(source, tokenizer), *stop_token_ids]))
    complete = with_end_tokens(ids if generation is None else generation, ends)
    if complete != generation:
        _write_json(folder / GENERATION, complete)
    _write_json(folder / CONFIG, decoder.config.to_hf() | ids)


def _write_json(path: pathlib.Path, contents: dict[str, Any]) -> None:
    path.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
