# SPDX-License-Identifier: Apache-2.0
"""Saves a decoder to a folder that transformers and vLLM load."""

import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
from flax import nnx
from huggingface_hub import split_state_dict_into_shards_factory

from ntl_jax.models.decoder import Decoder
from ntl_jax.models.hf.end_tokens import CONFIG, GENERATION, end_token_ids, with_end_tokens
from ntl_jax.models.hf.files import INDEX
from ntl_jax.models.hf.json_object import read_object
from ntl_jax.models.hf.names import fetched, hf_layout
from ntl_jax.models.hf.safetensors import write_tensors
from ntl_jax.records import Params

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase  # takes seconds to import, and most callers pass no tokenizer

COMPANIONS = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.jinja")
MAX_SHARD_BYTES = 5 * 10**9  # the hub's convention
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
        folder = pathlib.Path(temporary, "model")
        folder.mkdir()
        _write_settings(decoder, folder, None if source is None else pathlib.Path(source), tokenizer, stop_token_ids)
        _write_shards(nnx.state(decoder, nnx.Param), folder, max_shard_bytes)
        os.replace(folder, path)


def _write_shards(params: Params, folder: pathlib.Path, max_shard_bytes: int) -> None:
    """Writes the parameters in files as the hub splits them, with an index if there are several."""
    tensors = {tensor.name: tensor for tensor in hf_layout(params)}
    leaves = jax.tree.leaves(params)
    split = split_state_dict_into_shards_factory(
        tensors,
        get_storage_size=lambda tensor: math.prod(tensor.our_shape) * leaves[tensor.leaf].dtype.itemsize,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_bytes,
    )
    for file, names in split.filename_to_tensors.items():
        write_tensors(
            folder / file, {name: tensors[name].to_theirs(fetched(tensors[name].of(leaves))) for name in names}
        )
    if split.is_sharded:
        _write_json(folder / INDEX, {"metadata": split.metadata, "weight_map": split.tensor_to_filename})


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
        _write_json(folder / GENERATION, complete)
    _write_json(folder / CONFIG, decoder.config.to_hf() | ids)


def _write_json(path: pathlib.Path, contents: Mapping[str, object]) -> None:
    path.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
