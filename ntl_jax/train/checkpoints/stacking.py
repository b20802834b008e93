# SPDX-License-Identifier: Apache-2.0
"""Restores what was saved with stacked layers into separate ones, and the other way round, array by array.

Adafactor keeps an array of shape [1] for each parameter in place of statistics that it does not need; for stacked
layers it keeps one for all layers.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ntl_jax.models.stacking import is_stacked, num_layers_of, stacked, unstacked

Tree = TypeVar("Tree")
PLACEHOLDER = (1,)


def restore_as(like: Tree, stored: PyTree, restore: Callable[[Tree], Tree]) -> Tree:
    """What ``restore`` reads, with the layers as in ``like``, whichever way they are stored.

    Args:
        like: shapes, dtypes and shardings, as ``jax.ShapeDtypeStruct``; its parameters have the wanted placement.
        stored: a tree with the keys of the stored state.
        restore: from shapes, with the layers as they are stored, to arrays.
    """
    if (to_stacked := is_stacked(like)) == is_stacked(stored) or not (num_layers := num_layers_of(like)):
        return restore(like)
    if to_stacked:
        found = stacked(restore(unstacked(like, num_layers, _shapes_of_layers(num_layers))), _join)
    else:
        found = unstacked(restore(stacked(like, _shape_of_all)), num_layers, _separate(num_layers))
    return jax.tree.map(lambda x, shape: jax.device_put(x, shape.sharding), found, like)


def _shape_of_all(*layers: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    of_one = layers[0]
    if of_one.shape == PLACEHOLDER:
        return of_one
    return jax.ShapeDtypeStruct((len(layers), *of_one.shape), of_one.dtype, sharding=_respecified(of_one, (None,)))


def _shapes_of_layers(num_layers: int) -> Callable[[jax.ShapeDtypeStruct], list[jax.ShapeDtypeStruct]]:
    def shapes(of_all: jax.ShapeDtypeStruct) -> list[jax.ShapeDtypeStruct]:
        if of_all.shape == PLACEHOLDER:
            return [of_all] * num_layers
        sharding = _respecified(of_all, (), drop=1)
        return [jax.ShapeDtypeStruct(of_all.shape[1:], of_all.dtype, sharding=sharding)] * num_layers

    return shapes


def _respecified(x: jax.ShapeDtypeStruct, before: tuple[None, ...], drop: int = 0) -> jax.sharding.Sharding | None:
    """The sharding with other leading axes, which are not sharded."""
    if not isinstance(x.sharding, NamedSharding):
        return x.sharding
    return NamedSharding(x.sharding.mesh, PartitionSpec(*before, *x.sharding.spec[drop:]))


def _join(*layers: jax.Array) -> jax.Array:
    """The stacked array; the layers' memory is free afterwards."""
    joined = jnp.copy(layers[0]) if layers[0].shape == PLACEHOLDER else jnp.stack(layers)
    jax.block_until_ready(joined)
    for layer in layers:
        layer.delete()
    return joined


def _separate(num_layers: int) -> Callable[[jax.Array], list[jax.Array]]:
    def separate(x: jax.Array) -> list[jax.Array]:
        """One array for each layer; the memory of the stacked array is free afterwards."""
        layers = [jnp.copy(x) if x.shape == PLACEHOLDER else x[layer] for layer in range(num_layers)]
        jax.block_until_ready(layers)
        x.delete()
        return layers

    return separate
