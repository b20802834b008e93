# SPDX-License-Identifier: Apache-2.0
"""Layers whose arrays are stacked along a leading axis, and the way from stacked layers to separate ones and back.

In a tree of parameters, or of anything with an entry for each parameter, such as optimizer moments, separate layers are
``layers``, a mapping from a layer's index to its tree. Stacked layers are ``stack``, one layer's tree.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ntl_jax.models.config import ModelConfig
from ntl_jax.models.layers import Layer
from ntl_jax.models.parameters import LAYERS, STACK

Tree = TypeVar("Tree")

MIN_DEPTH = 12
"""Layers from which ``model.scan_layers=auto`` stacks them: on CPU a step then compiles in 0.6 of the time and takes 3%
(wide) to 11% (narrow) longer (benchmarks/depth.py)."""


def scans(scan_layers: str, num_layers: int) -> bool:
    """Whether layers are stacked, from the setting ``model.scan_layers``.

    Example:
        >>> scans("auto", 4), scans("auto", 30), scans("off", 30)
        (False, True, False)
    """
    return num_layers >= MIN_DEPTH if scan_layers == "auto" else scan_layers == "on"


def stacked_layers(config: ModelConfig, rngs: nnx.Rngs) -> Layer:
    """All layers as one module, with the values of layers created one after the other.

    Within a compiled program a scan creates them. Outside, they are created one by one: a compiled sequence of
    operations is rounded in other places than single operations.
    """
    graph = nnx.split(nnx.eval_shape(lambda: Layer(config, rngs=nnx.Rngs(0))))[0]
    stream = rngs.params
    key = stream.key[...]
    if not isinstance(key, Tracer):
        layers = [nnx.state(Layer(config, rngs=rngs)) for _ in range(config.num_layers)]
        return nnx.merge(graph, jax.tree.map(lambda *xs: jnp.stack(xs), *layers))

    def create(count: Array, _: None) -> tuple[Array, nnx.State]:
        own = nnx.Rngs(params=key)
        own.params.count[...] = count
        layer = Layer(config, rngs=own)
        return own.params.count[...], nnx.state(layer)

    stream.count[...], arrays = jax.lax.scan(create, stream.count[...], length=config.num_layers)
    return nnx.merge(graph, arrays)


def layers_of(stack: Layer, num_layers: int) -> list[Layer]:
    """The layers of a stack, as slices of its arrays."""
    graph, arrays = nnx.split(stack)
    return [nnx.merge(graph, jax.tree.map(operator.itemgetter(layer), arrays)) for layer in range(num_layers)]


def is_stacked(tree: PyTree) -> bool:
    """Whether a tree has stacked layers."""
    at_stack = jax.tree_util.DictKey(STACK)
    return any(at_stack in path for path, _ in jax.tree.leaves_with_path(tree))


def num_layers_of(tree: PyTree) -> int:
    """Number of layers in a tree of parameters or of what they are trained with; 0 if it has no layers.

    Example:
        >>> num_layers_of({"layers": {0: {"up": jnp.ones(2)}, 1: {"up": jnp.ones(2)}}})
        2
        >>> num_layers_of({"stack": {"up": jnp.ones((3, 2))}})
        3
    """
    depth, at_stack = 0, jax.tree_util.DictKey(STACK)
    for path, leaf in jax.tree.leaves_with_path(tree):
        if at_stack in path and leaf.ndim > 1:
            depth = max(depth, leaf.shape[0])
        keys = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
        depth = max([depth, *(key + 1 for key in keys if isinstance(key, int))])
    return depth


def unstacked(tree: Tree, num_layers: int, separate: Callable[[Any], Sequence[Any]] | None = None) -> Tree:
    """The same tree with separate layers.

    Args:
        tree: parameters, or anything with an entry for each parameter.
        num_layers: L.
        separate: from a stacked array to one array for each layer; None: slices of it.

    Example:
        >>> unstacked({"stack": {"up": jnp.arange(3)}}, 3)["layers"][2]["up"].item()
        2
    """

    def slices(x: Array) -> list[Array]:
        return [x[index] for index in range(num_layers)]

    def convert(layer: PyTree) -> dict[int, PyTree]:
        leaves, structure = jax.tree.flatten(layer)
        by_leaf = [(separate or slices)(leaf) for leaf in leaves]
        return {index: structure.unflatten([of[index] for of in by_leaf]) for index in range(num_layers)}

    return _renamed(tree, STACK, LAYERS, convert)


def stacked(tree: Tree, join: Callable[..., Any] = lambda *xs: jnp.stack(xs)) -> Tree:
    """The same tree with stacked layers.

    Args:
        tree: parameters, or anything with an entry for each parameter.
        join: from one array for each layer to the stacked array.

    Example:
        >>> stacked({"layers": {i: {"up": jnp.ones(2)} for i in range(3)}})["stack"]["up"].shape
        (3, 2)
    """

    def convert(layers: Mapping[int, PyTree]) -> PyTree:
        return jax.tree.map(join, *(layers[index] for index in range(len(layers))))

    return _renamed(tree, LAYERS, STACK, convert)


def layer_arrays(params: nnx.State, num_layers: int) -> nnx.State:
    """Parameters with separate layers, for decoding. On CPU they share the memory of the stacked arrays.

    A program that slices the stacked arrays copies every weight that it multiplies: XLA:CPU multiplies whole arrays. On
    other platforms the slices are copies.
    """
    if not is_stacked(params):
        return params
    jax.block_until_ready(params)
    return unstacked(params, num_layers, _separate)


def _separate(x: jax.Array) -> list[jax.Array]:
    if next(iter(x.devices())).platform != "cpu":
        return [x[index] for index in range(len(x))]
    sharding = x.sharding
    if isinstance(sharding, NamedSharding):
        sharding = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[1:]))
    shards = [(np.from_dlpack(shard.data), shard.device) for shard in x.addressable_shards]
    return [
        jax.make_array_from_single_device_arrays(
            x.shape[1:], sharding, [jax.device_put(data[index], device, may_alias=True) for data, device in shards]
        )
        for index in range(len(x))
    ]


def _renamed(tree: Tree, name: str, new_name: str, convert: Callable[[PyTree], PyTree]) -> Tree:
    """Replaces every mapping's entry ``name`` by its conversion, under another name."""

    def of_any(tree: PyTree) -> PyTree:
        return jax.tree.map(of_node, tree, is_leaf=lambda x: isinstance(x, nnx.State | dict))

    def of_node(node: PyTree) -> PyTree:
        if isinstance(node, nnx.State):
            return nnx.State(of_node(node.raw_mapping))
        if not isinstance(node, dict):
            return node
        entries = {key: of_any(value) for key, value in node.items() if key != name}
        if name in node:
            entries[new_name] = convert(node[name])
        return entries

    return of_any(tree)
