# SPDX-License-Identifier: Apache-2.0
"""Prefill: the prompts' keys and values, computed once for all samples of a prompt."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from ntl_jax.models import Decoder
from ntl_jax.models.attention.rows import row_attention
from ntl_jax.models.stacking import is_stacked
from ntl_jax.records import AnyArray, Params
from ntl_jax.rollout.jax.cache import Block, Cache, Where, write_places
from ntl_jax.rollout.jax.decode import Geometry


def prefill(
    geometry: Geometry,
    params: Params,
    cache: Cache,
    ids: Int[AnyArray, "n P"],
    groups: Int[AnyArray, "n"],
    places: Int[AnyArray, "n"],
) -> Cache:
    """Writes keys and values of n prompts into the prompt cache; groups past the last are dropped.

    Separate layers are one program. Stacked layers are two, so that neither is longer for more layers: one for the
    prompts and one that writes a layer's keys and values, called for each layer.
    """
    if not is_stacked(params):
        return _prefill(geometry, params, cache, ids, (groups, places))
    new = run_prompts(geometry, params, ids)
    return tuple(_write_layer(geometry, blocks, new, layer, (groups, places)) for layer, blocks in enumerate(cache))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _prefill(geometry: Geometry, params: Params, cache: Cache, ids: Int[Array, "n P"], where: Where) -> Cache:
    kept, num_places = run_prompts(geometry, params, ids), geometry.num_places
    filled = tuple(write_places(blocks, new, num_places, *where) for blocks, new in zip(cache, kept, strict=True))
    return jax.lax.with_sharding_constraint(filled, geometry.sharding)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _write_layer(
    geometry: Geometry, blocks: tuple[Block, ...], new: PyTree[Array], layer: int, where: Where
) -> tuple[Block, ...]:
    of_layer = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, layer, keepdims=False), new)
    filled = write_places(blocks, of_layer, geometry.num_places, *where)
    return jax.lax.with_sharding_constraint(filled, geometry.sharding)


@functools.partial(jax.jit, static_argnums=0)
def run_prompts(geometry: Geometry, params: Params, ids: Int[Array, "n P"]) -> PyTree[Array]:
    """Keys and values of the prompts, as ``Decoder.run`` keeps them, without writing them.

    Args:
        geometry, params, ids: as in `prefill`.

    Example: see `prefill`.
    """
    decoder: Decoder = nnx.merge(geometry.graph, params)
    attend_rows = row_attention(decoder.config.attention, None)  # padding comes last, where no real token attends
    positions = jnp.broadcast_to(jnp.arange(ids.shape[1])[None, :], ids.shape)

    def attend(
        q: Float[Array, "n P N H"], k: Float[Array, "n P K H"], v: Float[Array, "n P K H"]
    ) -> tuple[Float[Array, "n P N H"], Block]:
        return attend_rows(q, k, v), (k.transpose(0, 2, 3, 1), v.swapaxes(1, 2))

    return decoder.run(ids, positions, attend)[1]
