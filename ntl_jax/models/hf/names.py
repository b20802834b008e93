# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's names and layouts of parameters, and ours: one table for both directions.

Import, export and the transfer of weights to rollout engines all use it. Hugging Face stores a matrix as [outputs,
inputs]; ours has the input axes first, and ``PARAMETERS`` gives the number of axes of each side. Hugging Face stores a
vector with one axis, and rows of the vocabulary unchanged. An array of stacked layers is one tensor for each layer.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ntl_jax.models.decoder import Decoder
from ntl_jax.models.hf.safetensors import Cuttable
from ntl_jax.models.parameters import STACK, Parameter, parameter_at
from ntl_jax.processes.arrays import fetch
from ntl_jax.records import Params


class Row(NamedTuple):
    """Both names of one parameter; # stands for the layer. The last word of our name is its row in ``PARAMETERS``."""

    theirs: str
    ours: str


TABLE = (
    Row("model.embed_tokens.weight", "embedding"),
    Row("model.layers.#.input_layernorm.weight", "layers.#.attention_norm.scale"),
    Row("model.layers.#.self_attn.q_proj.weight", "layers.#.attention.query"),
    Row("model.layers.#.self_attn.k_proj.weight", "layers.#.attention.key"),
    Row("model.layers.#.self_attn.v_proj.weight", "layers.#.attention.value"),
    Row("model.layers.#.self_attn.q_proj.bias", "layers.#.attention.query_bias"),
    Row("model.layers.#.self_attn.k_proj.bias", "layers.#.attention.key_bias"),
    Row("model.layers.#.self_attn.v_proj.bias", "layers.#.attention.value_bias"),
    Row("model.layers.#.self_attn.q_norm.weight", "layers.#.attention.query_norm.scale"),
    Row("model.layers.#.self_attn.k_norm.weight", "layers.#.attention.key_norm.scale"),
    Row("model.layers.#.self_attn.o_proj.weight", "layers.#.attention.output"),
    Row("model.layers.#.post_attention_layernorm.weight", "layers.#.feed_forward_norm.scale"),
    Row("model.layers.#.mlp.gate_proj.weight", "layers.#.feed_forward.gate"),
    Row("model.layers.#.mlp.up_proj.weight", "layers.#.feed_forward.up"),
    Row("model.layers.#.mlp.down_proj.weight", "layers.#.feed_forward.down"),
    Row("model.norm.weight", "final_norm.scale"),
    Row("lm_head.weight", "unembedding"),
)
_BY_OUR_NAME = {row.ours: row for row in TABLE}


class Tensor(NamedTuple):
    """One parameter of one layer as Hugging Face stores it; ``leaf`` and ``layer`` say where it lies in our arrays."""

    name: str
    stored_shape: tuple[int, ...]
    our_shape: tuple[int, ...]
    num_inputs: int
    leaf: int = 0
    layer: int | None = None

    def of(self, leaves: Sequence[jax.Array]) -> jax.Array:
        """The parameter among the leaves of the tree that the layout was made from."""
        leaf = leaves[self.leaf]
        return leaf if self.layer is None else leaf[self.layer]

    def to_theirs(self, array: np.ndarray) -> np.ndarray:
        """A view of our parameter, with the axes of the stored tensor."""
        return array.reshape(self.stored_shape[::-1]).T if self.num_inputs else array.reshape(self.stored_shape)

    def read(self, stored: Cuttable, part: tuple[slice, ...]) -> np.ndarray:
        """A part of our parameter; reads only the rows and columns of the stored tensor that contain it.

        Args:
            stored: the stored tensor.
            part: a slice without step for each of our axes.
        """
        if len(self.stored_shape) == len(self.our_shape) and not self.num_inputs:
            return stored[part]
        ranges, shape, rest = [], [], []
        for axes in self._groups():
            start, stop, _ = part[axes.start].indices(self.our_shape[axes.start])
            inner = self.our_shape[axes.start + 1 : axes.stop]
            ranges.append(slice(start * math.prod(inner), stop * math.prod(inner)))
            shape += [stop - start, *inner]
            rest += [slice(None), *part[axes.start + 1 : axes.stop]]
        return stored[tuple(ranges[::-1])].T.reshape(shape)[tuple(rest)]

    def _groups(self) -> list[range]:
        """Our axes that form one axis of the stored tensor: inputs and outputs, or all axes of a vector."""
        ends = [0, self.num_inputs, len(self.our_shape)]
        return [range(start, stop) for start, stop in itertools.pairwise(ends) if stop > start]


def hf_layout(params: Params) -> list[Tensor]:
    """How Hugging Face stores a decoder's parameters (arrays or their shapes), in the order of the leaves, then layers.

    A tied head is not a parameter, so it is not included.

    Raises:
        ValueError: for a parameter without a Hugging Face name.
    """
    leaves = enumerate(jax.tree.leaves_with_path(params))
    return [tensor for index, (path, leaf) in leaves for tensor in _tensors(path, leaf.shape, index)]


def hf_tensors(decoder: Decoder) -> Iterator[tuple[str, np.ndarray]]:
    """(Hugging Face name, array in its layout) of every parameter, fetched from the devices one by one on demand.

    Example:
        >>> from ntl_jax.models import ModelConfig
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> decoder = Decoder(ModelConfig(vocab_size=32, num_layers=1, **sizes), rngs=nnx.Rngs(0))
        >>> {name: array.shape for name, array in hf_tensors(decoder)}["model.layers.0.mlp.down_proj.weight"]
        (16, 32)
    """
    params = nnx.state(decoder, nnx.Param)
    leaves = jax.tree.leaves(params)
    for tensor in hf_layout(params):
        yield tensor.name, tensor.to_theirs(fetched(tensor.of(leaves)))


def fetched(leaf: jax.Array) -> np.ndarray:
    """An array on the host, fetched through a copy: the array itself would cache the fetched values while it lives."""
    return fetch(jnp.copy(leaf))


def _tensors(path: jax.tree_util.KeyPath, shape: tuple[int, ...], leaf: int) -> list[Tensor]:
    """The tensors in the leaf of this number: one, or one for each stacked layer."""
    keys = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
    ours, parameter = ".".join("#" if isinstance(key, int) else key for key in keys), parameter_at(path)
    ours = ours.replace(f"{STACK}.", "layers.#.")
    if ours not in _BY_OUR_NAME:
        raise ValueError(f"{ours}: no Hugging Face name; add a row to TABLE in ntl_jax/models/hf/names.py")
    of_layer = shape[parameter.num_stacked :]
    stored_shape = _stored_shape(parameter, of_layer)

    def tensor(number: str, layer: int | None) -> Tensor:
        name = _BY_OUR_NAME[ours].theirs.replace("#", number)
        return Tensor(name, stored_shape, of_layer, parameter.num_inputs, leaf, layer)

    if parameter.num_stacked:
        return [tensor(str(layer), layer) for layer in range(shape[0])]
    return [tensor(next((str(key) for key in keys if isinstance(key, int)), ""), None)]


def _stored_shape(parameter: Parameter, shape: tuple[int, ...]) -> tuple[int, ...]:
    match parameter.kind:
        case "matrix":
            return math.prod(shape[parameter.num_inputs :]), math.prod(shape[: parameter.num_inputs])
        case "embedding" | "head":
            return shape
    return (math.prod(shape),)
