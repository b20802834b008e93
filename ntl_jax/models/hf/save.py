# SPDX-License-Identifier: Apache-2.0
"""Saves a decoder to a folder that transformers and vLLM load."""

import math
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from flax import nnx

from ntl_jax.models.decoder import Decoder
from ntl_jax.models.hf.end_tokens import CONFIG, GENERATION, end_token_ids, with_end_tokens
from ntl_jax.models.hf.json_object import read_object, write_object
from ntl_jax.models.hf.names import fetched, hf_layout
from ntl_jax.models.hf.shards import MAX_SHARD_BYTES, write_shards
from ntl_jax.models.unfinished import unfinished
from ntl_jax.records import Params

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase  # takes seconds to import, and most callers pass no tokenizer

COMPANIONS = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.jinja")
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def save_hf(
    decoder: Decoder,
    path: str | pathlib.Path,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    stop_token_ids: Sequence[int] = (),
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Writes config.json, the safetensors, the tokenizer and generation_config.json.

    The folder is created atomically. Parameters keep their dtype: loading them again gives the same bits. Other files
    of the model are copied from the folder that the decoder was loaded from. generation_config.json lists all end
    tokens of that folder and of the tokenizer, which also end responses in training.

    Parameters that fit in one file are saved as model.safetensors; others as shards, such as
    model-00001-of-00003.safetensors, with model.safetensors.index.json, as on the hub. The host holds one shard at a
    time.

    Args:
        decoder: on any mesh whose devices this process reaches; fetched one shard at a time.
        path: path of the folder to create; it must not exist, or be empty.
        tokenizer: used instead of the files of ``decoder.config.source``; pass it to save a tokenizer with a decoder
            that was not loaded from a folder.
        stop_token_ids: end tokens to list in addition to those of the folder and the tokenizer.
        max_shard_bytes: most bytes per file; a larger tensor has its own file.

    Raises:
        ValueError: for a folder that is not empty, a missing source folder, or ``max_shard_bytes`` below 1.
    """
    if max_shard_bytes < 1:
        raise ValueError(f"max_shard_bytes={max_shard_bytes} must be at least 1; leave it out for {MAX_SHARD_BYTES:,}")
    path, source = pathlib.Path(path).absolute(), decoder.config.source
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} already exists: name another folder, or remove it first")
    if source is not None and not pathlib.Path(source).is_dir():
        raise ValueError(
            f"{source}, where this model's tokenizer and generation settings came from, is gone: put it back, or save "
            "with dataclasses.replace(config, source=None) and tokenizer="
        )
    with unfinished(path) as temporary:
        folder = temporary / "model"
        folder.mkdir()
        _write_settings(decoder, folder, None if source is None else pathlib.Path(source), tokenizer, stop_token_ids)
        _write_params(nnx.state(decoder, nnx.Param), folder, max_shard_bytes)
        os.replace(folder, path)


def _write_params(params: Params, folder: pathlib.Path, max_shard_bytes: int) -> None:
    tensors = {tensor.name: tensor for tensor in hf_layout(params)}
    leaves = jax.tree.leaves(params)
    sizes = {name: math.prod(x.our_shape) * leaves[x.leaf].dtype.itemsize for name, x in tensors.items()}

    def array(name: str) -> np.ndarray:
        return tensors[name].to_theirs(fetched(tensors[name].of(leaves)))

    write_shards(folder, sizes, array, max_shard_bytes)


def _write_settings(
    decoder: Decoder,
    folder: pathlib.Path,
    source: pathlib.Path | None,
    tokenizer: "PreTrainedTokenizerBase | None",
    stop_token_ids: Sequence[int],
) -> None:
    ids: dict[str, object] = {}
    generation: dict[str, object] | None = None
    if source is not None:
        stored = read_object(source / CONFIG)
        ids = {name: stored[name] for name in TOKEN_IDS if name in stored}
        if (source / GENERATION).is_file():
            shutil.copy(source / GENERATION, folder)
            generation = read_object(source / GENERATION)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
        ids = ids or {name: getattr(tokenizer, name) for name in TOKEN_IDS}
    elif source is not None:
        for companion in {path for pattern in COMPANIONS for path in source.glob(pattern) if path.is_file()}:
            shutil.copy(companion, folder)
    ends = tuple(dict.fromkeys([*end_token_ids(source, tokenizer), *stop_token_ids]))
    complete = with_end_tokens(ids if generation is None else generation, ends)
    if complete != generation:
        write_object(folder / GENERATION, complete)
    write_object(folder / CONFIG, decoder.config.to_hf() | ids)
