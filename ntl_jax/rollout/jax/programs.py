# SPDX-License-Identifier: Apache-2.0
"""The two compiled programs: prefill of a few prompts, and a segment of decode steps of all slots.

Engine and sampling settings fix their shapes. Only the number of cache blocks to read varies, so a workload needs at
most as many programs as there are blocks. A prompt's last token is not prefilled: it is the first token that each of
its samples decodes.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PyTree

from ntl_jax.models import Decoder
from ntl_jax.models.attention import row_attention
from ntl_jax.models.stacking import is_stacked
from ntl_jax.numerals import NumberTable
from ntl_jax.records import AnyArray, Params
from ntl_jax.rollout.jax.cache import Block, Cache, Where, block_starts, visible, write_page, write_prompts
from ntl_jax.rollout.jax.decode_attention import Partial, attend_block, merge, normalized
from ntl_jax.rollout.jax.inverse_cdf import uniforms
from ntl_jax.rollout.jax.sampler import Captured, Method, sample
from ntl_jax.rollout.jax.truncation import Truncation

PAGE = 16
"""Decode steps per segment; finished samples leave after a segment."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Everything that a program is compiled for, except the number of blocks to read.

    Args:
        graph: graph definition of the decoder.
        num_groups: number of groups of slots.
        num_samples: slots per group, G.
        num_places: prompts per group at a time; they lie side by side in the blocks of the prompt cache.
        prompt_blocks: block sizes of the prompt cache, for one place.
        own_blocks: block sizes of the slots' own cache.
        dtype: dtype of keys and values.
        sharding: sharding of the caches.
        method: how to draw tokens, and what to capture.
    """

    graph: nnx.GraphDef
    num_groups: int
    num_samples: int
    num_places: int
    prompt_blocks: tuple[int, ...]
    own_blocks: tuple[int, ...]
    dtype: jnp.dtype
    sharding: jax.sharding.NamedSharding
    method: Method

    @property
    def num_slots(self) -> int:
        return self.num_groups * self.num_samples


class Slots(NamedTuple):
    """The host's description of each slot (X) and of each group's places before a segment."""

    tokens: Int[AnyArray, "X"]
    counts: Int[AnyArray, "X"]
    """Tokens that the slot's sample has decoded; a multiple of the page."""
    remaining: Int[AnyArray, "X"]
    """Tokens that it may still decode; 0: the slot is empty."""
    positions: Int[AnyArray, "X"]
    seeds: Int[AnyArray, "X"]
    """Seed of the request that the sample belongs to."""
    prompt_draws: Int[AnyArray, "X"]
    sample_indices: Int[AnyArray, "X"]
    prompt_bounds: Int[AnyArray, "X places"]
    """Number of positions in each place's prompt that the slot attends to: the prefilled ones, or none."""


class SamplingArrays(NamedTuple):
    """Sampling parameters, as arrays."""

    temperature: Float[Array, ""] | np.float32
    truncation: Truncation
    stop_ids: Int[AnyArray, "n"]


class Segment(NamedTuple):
    """The result of a segment of decode steps; entries at and past a slot's length have no meaning."""

    captured: Captured  # each [PAGE, X, ...]
    lengths: Int[AnyArray, "X"]
    stopped: Bool[AnyArray, "X"]


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
    new = _run_prompts(geometry, params, ids)
    return tuple(_write_layer(geometry, blocks, new, layer, (groups, places)) for layer, blocks in enumerate(cache))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _prefill(geometry: Geometry, params: Params, cache: Cache, ids: Int[Array, "n P"], where: Where) -> Cache:
    kept, num_places = _run_prompts(geometry, params, ids), geometry.num_places
    filled = tuple(write_prompts(blocks, new, where, num_places) for blocks, new in zip(cache, kept, strict=True))
    return jax.lax.with_sharding_constraint(filled, geometry.sharding)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _write_layer(
    geometry: Geometry, blocks: tuple[Block, ...], new: PyTree[Array], layer: int, where: Where
) -> tuple[Block, ...]:
    of_layer = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, layer, keepdims=False), new)
    filled = write_prompts(blocks, of_layer, where, geometry.num_places)
    return jax.lax.with_sharding_constraint(filled, geometry.sharding)


@functools.partial(jax.jit, static_argnums=0)
def _run_prompts(geometry: Geometry, params: Params, ids: Int[Array, "n P"]) -> PyTree[Array]:
    """Keys and values of the prompts, as ``Decoder.run`` keeps them."""
    decoder: Decoder = nnx.merge(geometry.graph, params)
    attend_rows = row_attention(decoder.config.attention, None)  # padding comes last, where no real token attends
    positions = jnp.broadcast_to(jnp.arange(ids.shape[1])[None, :], ids.shape)

    def attend(
        q: Float[Array, "n P N H"], k: Float[Array, "n P K H"], v: Float[Array, "n P K H"]
    ) -> tuple[Float[Array, "n P N H"], Block]:
        return attend_rows(q, k, v), (k.transpose(0, 2, 3, 1), v.swapaxes(1, 2))

    return decoder.run(ids, positions, attend)[1]


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=6)
def decode(
    geometry: Geometry,
    num_prompt_blocks: int,
    num_own_blocks: int,
    params: Params,
    table: NumberTable,
    prompts: Cache,
    own: Cache,
    slots: Slots,
    sampling: SamplingArrays,
) -> tuple[Cache, Segment]:
    """Decodes a page of tokens for every slot, or fewer once all finish; returns the slots' cache with that page.

    Reads the first ``num_prompt_blocks`` and ``num_own_blocks`` of the caches: the caller ensures that these hold all
    positions that any slot needs.
    """
    decoder: Decoder = nnx.merge(geometry.graph, params)
    head = decoder.head()
    of_slots = map(jnp.asarray, (slots.seeds, slots.prompt_draws, slots.sample_indices, slots.counts))
    random = uniforms(*of_slots, num_draws=PAGE)
    read_prompts = tuple(blocks[:num_prompt_blocks] for blocks in prompts)
    read_own = tuple(blocks[:num_own_blocks] for blocks in own)

    def choose(hidden: Array, step: Array) -> Captured:
        method, (temperature, truncation, _) = geometry.method, sampling
        num_tokens = decoder.config.num_tokens
        drawn_at = jnp.asarray(temperature)
        return sample(method, hidden, head, table, random[step], drawn_at, truncation, num_tokens)

    def keep_going(loop: _Loop) -> Bool[Array, ""]:
        return (loop.step < PAGE) & jnp.any(~loop.segment.stopped & (loop.step < slots.remaining))

    def decode_one(loop: _Loop) -> _Loop:
        hidden, page = _advance(decoder, geometry, loop, slots, read_prompts, read_own)
        captured = choose(hidden, loop.step)
        segment = _record(loop.segment, loop.step, captured, slots.remaining, sampling.stop_ids)
        return _Loop(loop.step + 1, jnp.asarray(captured.tokens), page, segment)

    hidden = jax.ShapeDtypeStruct((geometry.num_slots, decoder.config.width), geometry.dtype)
    start = _empty_loop(geometry, decoder, slots, jax.eval_shape(choose, hidden, jnp.int32(0)))
    loop = jax.lax.while_loop(keep_going, decode_one, start)
    num_written = num_own_blocks + 1
    own = tuple(
        (*write_page(blocks[:num_written], page, slots.counts // PAGE), *blocks[num_written:])
        for blocks, page in zip(own, loop.page, strict=True)
    )
    return jax.lax.with_sharding_constraint(own, geometry.sharding), loop.segment


class _Loop(NamedTuple):
    """State of a segment: the page in progress (keys and values by layer), and the captures so far."""

    step: Int[Array, ""]
    tokens: Int[Array, "X"]
    page: tuple[Block, ...]
    segment: Segment


def _empty_loop(geometry: Geometry, decoder: Decoder, slots: Slots, captured: Captured) -> _Loop:
    shape = (geometry.num_slots, decoder.config.num_kv_heads)
    keys = jnp.zeros((*shape, decoder.config.head_dim, PAGE), geometry.dtype)
    values = jnp.zeros((*shape, PAGE, decoder.config.head_dim), geometry.dtype)
    segment = Segment(
        captured=jax.tree.map(lambda x: jnp.zeros((PAGE, *x.shape), x.dtype), captured),
        lengths=jnp.zeros_like(slots.tokens),
        stopped=jnp.zeros(slots.tokens.shape, bool),
    )
    return _Loop(jnp.int32(0), jnp.asarray(slots.tokens), ((keys, values),) * decoder.config.num_layers, segment)


def _record(
    segment: Segment,
    step: Int[Array, ""],
    captured: Captured,
    remaining: Int[AnyArray, "X"],
    stop_ids: Int[AnyArray, "n"],
) -> Segment:
    """Writes one position of every slot, and stops the slots that drew a stop token."""
    alive = ~segment.stopped & (step < remaining)
    is_stop = jnp.any(captured.tokens[:, None] == stop_ids[None, :], axis=-1)
    return Segment(
        captured=jax.tree.map(lambda all_steps, x: all_steps.at[step].set(x), segment.captured, captured),
        lengths=segment.lengths + alive,
        stopped=segment.stopped | (alive & is_stop),
    )


def _advance(
    decoder: Decoder, geometry: Geometry, loop: _Loop, slots: Slots, prompts: Cache, own: Cache
) -> tuple[Float[Array, "X D"], tuple[Block, ...]]:
    """Runs the decoder on one token of every slot; returns its hidden states [X, D] and the page with that token."""
    num_kv_heads, head_dim = decoder.config.num_kv_heads, decoder.config.head_dim

    def attend(
        layer: int, q: Float[Array, "X 1 N H"], k: Float[Array, "X 1 K H"], v: Float[Array, "X 1 K H"]
    ) -> tuple[Float[Array, "X 1 N H"], Block]:
        page_keys, page_values = loop.page[layer]
        k, v = k.transpose(0, 2, 3, 1), v.swapaxes(1, 2)
        page_keys = jax.lax.dynamic_update_slice_in_dim(page_keys, k, loop.step, axis=3)
        page_values = jax.lax.dynamic_update_slice_in_dim(page_values, v, loop.step, axis=2)
        queries = q.reshape(q.shape[0], num_kv_heads, -1, head_dim)
        is_written = (jnp.arange(PAGE) <= loop.step)[None, None, None, :]
        parts = [
            *_over_prompts(geometry, queries, prompts[layer], slots),
            *_over_own(geometry, queries, own[layer], slots),
            attend_block(queries, page_keys, page_values, is_written),
        ]
        return normalized(merge(parts)).astype(q.dtype).reshape(q.shape), (page_keys, page_values)

    attends = [functools.partial(attend, layer) for layer in range(decoder.config.num_layers)]
    positions = (jnp.asarray(slots.positions) + loop.step)[:, None]
    hidden, page = decoder.run_each(loop.tokens[:, None], positions, attends)
    return hidden[:, 0], tuple(page)


def _over_own(
    geometry: Geometry, queries: Float[Array, "X K Q H"], blocks: tuple[Block, ...], slots: Slots
) -> list[Partial]:
    return [
        attend_block(queries, keys, values, visible(slots.counts[:, None], start, values.shape[2]))
        for start, (keys, values) in zip(block_starts(geometry.own_blocks), blocks, strict=False)
    ]


def _over_prompts(
    geometry: Geometry, queries: Float[Array, "X K Q H"], blocks: tuple[Block, ...], slots: Slots
) -> list[Partial]:
    """Attention over prompts: a prompt's keys and values are read once for all queries of its group."""
    if not blocks:
        return []
    _, num_kv_heads, group, head_dim = queries.shape
    by_slot = (geometry.num_groups, geometry.num_samples, num_kv_heads, group)
    queries = (
        queries.reshape(*by_slot, head_dim).swapaxes(1, 2).reshape(geometry.num_groups, num_kv_heads, -1, head_dim)
    )
    bounds = jnp.repeat(slots.prompt_bounds.reshape(*by_slot[:2], -1), group, axis=1)
    parts = []
    for start, (keys, values) in zip(block_starts(geometry.prompt_blocks), blocks, strict=False):
        size = values.shape[2] // geometry.num_places
        mask = [visible(bounds[:, :, place], start, size) for place in range(geometry.num_places)]
        mask = jnp.concatenate(mask, axis=-1)
        parts.append(attend_block(queries, keys, values, mask, num_places=geometry.num_places))

    def to_slots(x: Array) -> Array:
        x = x.reshape(geometry.num_groups, num_kv_heads, geometry.num_samples, group, *x.shape[3:])
        return x.swapaxes(1, 2).reshape(-1, num_kv_heads, group, *x.shape[4:])

    return [Partial(*map(to_slots, merge(parts)))]
