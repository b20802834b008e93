# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's names and layouts of parameters, and ours: one table, read in both directions.

Import, export and the transfer of weights to rollout engines all go through it.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from ntl_jax.models.decoder import Decoder


class Row(NamedTuple):
    """One kind of parameter.

    Attributes:
        theirs, ours: names; # stands for the layer.
        num_inputs: Hugging Face stores matrices as [outputs, inputs], ours have their input axes first, each side with
            as many axes as it means. So many of our leading axes are inputs; None: stored as it is.
    """

    theirs: str
    ours: str
    num_inputs: int | None


TABLE = (
    Row("model.embed_tokens.weight", "embedding", None),
    Row("model.layers.#.input_layernorm.weight", "layers.#.attention_norm.scale", 0),
    Row("model.layers.#.self_attn.q_proj.weight", "layers.#.attention.query", 1),
    Row("model.layers.#.self_attn.k_proj.weight", "layers.#.attention.key", 1),
    Row("model.layers.#.self_attn.v_proj.weight", "layers.#.attention.value", 1),
    Row("model.layers.#.self_attn.q_proj.bias", "layers.#.attention.query_bias", 0),
    Row("model.layers.#.self_attn.k_proj.bias", "layers.#.attention.key_bias", 0),
    Row("model.layers.#.self_attn.v_proj.bias", "layers.#.attention.value_bias", 0),
    Row("model.layers.#.self_attn.q_norm.weight", "layers.#.attention.query_norm.scale", 0),
    Row("model.layers.#.self_attn.k_norm.weight", "layers.#.attention.key_norm.scale", 0),
    Row("model.layers.#.self_attn.o_proj.weight", "layers.#.attention.output", 2),
    Row("model.layers.#.post_attention_layernorm.weight", "layers.#.feed_forward_norm.scale", 0),
    Row("model.layers.#.mlp.gate_proj.weight", "layers.#.feed_forward.gate", 1),
    Row("model.layers.#.mlp.up_proj.weight", "layers.#.feed_forward.up", 1),
    Row("model.layers.#.mlp.down_proj.weight", "layers.#.feed_forward.down", 1),
    Row("model.norm.weight", "final_norm.scale", 0),
    Row("lm_head.weight", "unembedding", None),
)
_BY_OUR_NAME = {row.ours: row for row in TABLE}


class Tensor(NamedTuple):
    """One parameter as Hugging Face stores it."""

    name: str
    stored_shape: tuple[int, ...]
    our_shape: tuple[int, ...]
    num_inputs: int | None

    def to_ours(self, stored: np.ndarray) -> np.ndarray:
        """A view of the stored tensor, with the axes of our parameter."""
        return stored if self.num_inputs is None else stored.T.reshape(self.our_shape)

    def to_theirs(self, array: np.ndarray) -> np.ndarray:
        """A view of our parameter, with the axes of the stored tensor."""
        return array if self.num_inputs is None else array.reshape(self.stored_shape[::-1]).T


def hf_layout(params: Any) -> list[Tensor]:
    """How Hugging Face stores each leaf of a decoder's parameters (arrays or their shapes), in the order of the leaves.

    A tied head is no parameter, so it is none of them.
    """
    return [_tensor(path, leaf.shape) for path, leaf in jax.tree.leaves_with_path(params)]


def hf_tensors(decoder: Decoder) -> Iterator[tuple[str, np.ndarray]]:
    """(Hugging Face name, array in its layout) of every parameter, fetched from the devices one by one as asked for.

    Example:
        >>> from ntl_jax.models import ModelConfig
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> decoder = Decoder(ModelConfig(vocab_size=32, num_layers=1, **sizes), rngs=nnx.Rngs(0))
        >>> {name: array.shape for name, array in hf_tensors(decoder)}["model.layers.0.mlp.down_proj.weight"]
        (16, 32)
    """
    params = nnx.state(decoder, nnx.Param)
    for tensor, leaf in zip(hf_layout(params), jax.tree.leaves(params), strict=True):
        yield tensor.name, tensor.to_theirs(jax.device_get(leaf))


def _tensor(path: tuple, shape: tuple[int, ...]) -> Tensor:
    keys = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
    layer = next((str(key) for key in keys if isinstance(key, int)), "")
    row = _BY_OUR_NAME[".".join("#" if isinstance(key, int) else key for key in keys)]
    name = row.theirs.replace("#", layer)
    if row.num_inputs is None:
        return Tensor(name, shape, shape, None)
    inputs, outputs = shape[: row.num_inputs], shape[row.num_inputs :]
    return Tensor(name, (math.prod(outputs), math.prod(inputs))[: 1 + bool(inputs)], shape, row.num_inputs)
