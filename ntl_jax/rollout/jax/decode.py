# SPDX-License-Identifier: Apache-2.0
"""The compiled programs of decoding: a segment of decode steps of all slots, or of a tile of them.

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
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.models import Decoder
from ntl_jax.numerals import NumberTable
from ntl_jax.records import AnyArray, Params
from ntl_jax.rollout.jax.cache import (
    Block,
    Cache,
    TileRows,
    TileShape,
    take_places,
    take_rows,
    write_page,
)
from ntl_jax.rollout.jax.decode_attention import attend_block, merge, normalized, over_own, over_prompts
from ntl_jax.rollout.jax.sampler.inverse_cdf import uniforms
from ntl_jax.rollout.jax.sampler.sample import Captured, Method, sample
from ntl_jax.rollout.jax.sampler.truncation import Truncation

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
    read_prompts = tuple(blocks[:num_prompt_blocks] for blocks in prompts)
    read_own = tuple(blocks[:num_own_blocks] for blocks in own)
    page, segment = _segment(geometry, params, table, read_prompts, read_own, slots, sampling)
    own = _with_page(own, num_own_blocks, page, slots.counts)
    return jax.lax.with_sharding_constraint(own, geometry.sharding), segment


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=7)
def decode_tile(
    geometry: Geometry,
    tile: TileShape,
    num_prompt_blocks: int,
    num_own_blocks: int,
    params: Params,
    table: NumberTable,
    prompts: Cache,
    own: Cache,
    where: TileRows,
    slots: Slots,
    sampling: SamplingArrays,
) -> tuple[Cache, Segment]:
    """`decode` for some slots, in any order: the slots of one tile, whose caches are copied to lie together.

    A tile's groups of slots have one prompt each. The copies are read at every step of the segment.
    """
    of_tile = dataclasses.replace(geometry, num_groups=tile.num_groups, num_samples=tile.group_size, num_places=1)
    read_prompts = tuple(
        take_places(blocks[:num_prompt_blocks], geometry.num_places, where.groups, where.places) for blocks in prompts
    )
    read_own = tuple(take_rows(blocks[:num_own_blocks], where.slots) for blocks in own)
    page, segment = _segment(of_tile, params, table, read_prompts, read_own, slots, sampling)
    own = _with_page(own, num_own_blocks, page, slots.counts, where.slots)
    return jax.lax.with_sharding_constraint(own, geometry.sharding), segment


def _segment(
    geometry: Geometry,
    params: Params,
    table: NumberTable,
    prompts: Cache,
    own: Cache,
    slots: Slots,
    sampling: SamplingArrays,
) -> tuple[tuple[Block, ...], Segment]:
    """The loop over a page of steps; returns each layer's new page and the captures."""
    decoder: Decoder = nnx.merge(geometry.graph, params)
    head = decoder.head()
    of_slots = map(jnp.asarray, (slots.seeds, slots.prompt_draws, slots.sample_indices, slots.counts))
    random = uniforms(*of_slots, num_draws=PAGE)

    def choose(hidden: Array, step: Array) -> Captured:
        method, (temperature, truncation, _) = geometry.method, sampling
        num_tokens = decoder.config.num_tokens
        drawn_at = jnp.asarray(temperature)
        return sample(method, hidden, head, table, random[step], drawn_at, truncation, num_tokens)

    def keep_going(loop: _Loop) -> Bool[Array, ""]:
        return (loop.step < PAGE) & jnp.any(~loop.segment.stopped & (loop.step < slots.remaining))

    def decode_one(loop: _Loop) -> _Loop:
        hidden, page = _advance(decoder, loop, slots, prompts, own)
        captured = choose(hidden, loop.step)
        segment = _record(loop.segment, loop.step, captured, slots.remaining, sampling.stop_ids)
        return _Loop(loop.step + 1, jnp.asarray(captured.tokens), page, segment)

    hidden = jax.ShapeDtypeStruct((geometry.num_slots, decoder.config.width), geometry.dtype)
    start = _empty_loop(geometry, decoder, slots, jax.eval_shape(choose, hidden, jnp.int32(0)))
    loop = jax.lax.while_loop(keep_going, decode_one, start)
    return loop.page, loop.segment


def _with_page(
    own: Cache,
    num_own_blocks: int,
    page: tuple[Block, ...],
    counts: Int[AnyArray, "X"],
    rows: Int[AnyArray, "X"] | None = None,
) -> Cache:
    """The slots' cache with a page of new tokens after the ``counts`` tokens that these rows hold."""
    num_written = num_own_blocks + 1
    return tuple(
        (*write_page(blocks[:num_written], new, counts // PAGE, rows), *blocks[num_written:])
        for blocks, new in zip(own, page, strict=True)
    )


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
    decoder: Decoder, loop: _Loop, slots: Slots, prompts: Cache, own: Cache
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
            *over_prompts(queries, prompts[layer], slots.prompt_bounds),
            *over_own(queries, own[layer], slots.counts),
            attend_block(queries, page_keys, page_values, is_written),
        ]
        return normalized(merge(parts)).astype(q.dtype).reshape(q.shape), (page_keys, page_values)

    attends = [functools.partial(attend, layer) for layer in range(decoder.config.num_layers)]
    positions = (jnp.asarray(slots.positions) + loop.step)[:, None]
    hidden, page = decoder.run_each(loop.tokens[:, None], positions, attends)
    return hidden[:, 0], tuple(page)
