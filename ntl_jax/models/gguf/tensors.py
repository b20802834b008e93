# SPDX-License-Identifier: Apache-2.0
"""The tensors of a GGUF file under Hugging Face's names and in its layout.

Names: one table. Layout: both store matrices as [outputs, inputs]. llama.cpp rotates neighboring features of a head,
Hugging Face features half a head apart; so its converter reorders the rows of Llama's queries and keys, and
`hf_array` puts them back. Qwen's are stored as they are.
"""

import re
from collections.abc import Iterable

import numpy as np

from ntl_jax.models.config import ModelConfig
from ntl_jax.models.gguf.file import GGUFFile
from ntl_jax.models.hf.names import Tensor

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.layers.#.input_layernorm": "blk.#.attn_norm",
    "model.layers.#.self_attn.q_proj": "blk.#.attn_q",
    "model.layers.#.self_attn.k_proj": "blk.#.attn_k",
    "model.layers.#.self_attn.v_proj": "blk.#.attn_v",
    "model.layers.#.self_attn.q_norm": "blk.#.attn_q_norm",
    "model.layers.#.self_attn.k_norm": "blk.#.attn_k_norm",
    "model.layers.#.self_attn.o_proj": "blk.#.attn_output",
    "model.layers.#.post_attention_layernorm": "blk.#.ffn_norm",
    "model.layers.#.mlp.gate_proj": "blk.#.ffn_gate",
    "model.layers.#.mlp.up_proj": "blk.#.ffn_up",
    "model.layers.#.mlp.down_proj": "blk.#.ffn_down",
    "model.norm": "output_norm",
    "lm_head": "output",
}
"""Hugging Face's names and llama.cpp's, without ``.weight`` and ``.bias``; # stands for the layer."""
IMPLIED = re.compile(r"rope_freqs\.weight|blk\.\d+\.attn_rot_embd(\.weight)?")
"""Tensors that follow from the settings."""
REORDERED = ("q_proj", "k_proj")
MOST_SHOWN = 3


def gguf_name(name: str) -> str:
    """llama.cpp's name of one of Hugging Face's tensors.

    Example:
        >>> gguf_name("model.layers.7.self_attn.q_proj.weight")
        'blk.7.attn_q.weight'
    """
    module, _, kind = name.rpartition(".")
    number = re.search(r"\d+", module)
    pattern = module if number is None else module.replace(number[0], "#", 1)
    stem = NAMES[pattern]
    return f"{stem if number is None else stem.replace('#', number[0])}.{kind}"


def check_tensors(file: GGUFFile, layout: Iterable[Tensor]) -> None:
    """Raises a ValueError that names tensors that are missing, unexpected or of another shape."""
    expected = {gguf_name(tensor.name): tensor.stored_shape for tensor in layout}
    problems = [f"{name} is missing" for name in expected if name not in file.tensors]
    problems += [f"{name} is unexpected" for name in file.tensors if name not in expected and not IMPLIED.match(name)]
    problems += [
        f"{name} has shape {file.shape(name)} instead of {shape}"
        for name, shape in expected.items()
        if name in file.tensors and file.shape(name) != shape
    ]
    if problems:
        shown = [*problems[:MOST_SHOWN], *([] if len(problems) <= MOST_SHOWN else ["..."])]
        raise ValueError(
            f"{file.path}: {len(problems)} tensors do not fit a model of architecture {file.architecture!r} with its "
            f"settings: {', '.join(shown)}; download it again, or give another model"
        )


def hf_array(file: GGUFFile, name: str, config: ModelConfig) -> np.ndarray:
    """The tensor that Hugging Face calls by this name."""
    array = file.array(gguf_name(name))
    if file.architecture != "llama" or name.split(".")[-2] not in REORDERED:
        return array
    half = config.head_dim // 2
    by_head = array.reshape(-1, half, 2, *array.shape[1:])  # [heads, H/2, 2, D]
    return by_head.swapaxes(1, 2).reshape(array.shape)
