# SPDX-License-Identifier: Apache-2.0
"""Converts a GGUF file to a Hugging Face folder that `load_hf`, transformers and vLLM read."""

import math
import os
import pathlib
import shutil
from collections.abc import Mapping

import numpy as np

from ntl_jax.models.decoder import abstract_decoder
from ntl_jax.models.gguf.file import GGUFFile, open_gguf
from ntl_jax.models.gguf.settings import model_config
from ntl_jax.models.gguf.tensors import check_tensors, gguf_name, hf_array
from ntl_jax.models.gguf.tokenizer import generation_settings, load_gguf_tokenizer
from ntl_jax.models.hf.end_tokens import CONFIG, GENERATION
from ntl_jax.models.hf.json_object import write_object
from ntl_jax.models.hf.names import Tensor, hf_layout
from ntl_jax.models.hf.shards import write_shards
from ntl_jax.models.unfinished import unfinished


def convert_gguf(path: pathlib.Path, folder: pathlib.Path, others: Mapping[str, bytes] | None = None) -> None:
    """Writes config.json, safetensors, the tokenizer with its chat template, and generation_config.json.

    Tensors in F32, F16 and BF16 keep their bits; quantized ones become float32. The folder is created atomically.

    Args:
        path: the GGUF file, of architecture llama (Mistral's too), qwen2 or qwen3.
        folder: to create; it must not exist, or be empty.
        others: contents of further files of the folder, such as a license.

    Raises:
        ValueError: for a file that cannot be used (`open_gguf`, `model_config`, `load_gguf_tokenizer`), and if there
            is too little space.
    """
    file = open_gguf(path)
    config = model_config(file)
    layout = hf_layout(abstract_decoder(config)[1])
    check_tensors(file, layout)
    tokenizer, generation = load_gguf_tokenizer(file), generation_settings(file)
    if len(tokenizer) > config.vocab_size:
        raise ValueError(f"{path}: its tokenizer has {len(tokenizer):,} tokens, its model {config.vocab_size:,}")
    sizes = {x.name: math.prod(x.stored_shape) * file.dtype(gguf_name(x.name)).itemsize for x in layout}
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_space(folder.parent, sum(sizes.values()), f"{path}: its weights")
    with unfinished(folder) as temporary:
        made = temporary / "model"
        made.mkdir()
        tokenizer.save_pretrained(made)
        write_object(made / CONFIG, config.to_hf() | generation | {"torch_dtype": _dtype(file, layout)})
        write_object(made / GENERATION, generation)
        for name, content in (others or {}).items():
            (made / name).write_bytes(content)
        write_shards(made, sizes, lambda name: hf_array(file, name, config))
        os.replace(made, folder)


def check_space(folder: pathlib.Path, needed: int, what: str) -> None:
    """Raises a ValueError if fewer bytes are free where the folder lies."""
    if (free := shutil.disk_usage(folder).free) < needed:
        raise ValueError(
            f"{what} take {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free in {folder}: free some, or name a "
            "folder on another disk"
        )


def _dtype(file: GGUFFile, layout: list[Tensor]) -> str:
    """The dtype of all matrices, or float32 if they differ."""
    dtypes = {file.dtype(gguf_name(tensor.name)) for tensor in layout if len(tensor.stored_shape) > 1}
    return (dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)).name
