# SPDX-License-Identifier: Apache-2.0
"""Attention of one new token per slot over separate blocks of keys and values.

Softmax over the union of blocks is merged from each block's softmax by log-sum-exp. With z the scores in units of ln 2,
n_i = ceil(max z) in block i, s_i the sum of 2^(z - n_i) and o_i the sum of values with these weights, the result is

    n = max n_i,    mixed = sum_i 2^(n_i - n) o_i / sum_i 2^(n_i - n) s_i.

Integer exponents make the scales powers of two and the products exact, so fusing a product with a sum changes no bit. A
block whose positions are all masked adds exact zeros. So neither the blocks that neighbors need nor a prompt's place
changes a bit of a slot. Scores, exponentials and sums are float32.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.records import AnyArray
from ntl_jax.rollout.jax.cache import Block, block_starts, visible

LOWEST = -(2.0**20)
"""The exponent of a block without positions: finite, and low enough that its scale is 0."""


class Partial(NamedTuple):
    """Unnormalized attention over some positions; X slots or groups, Q queries of each key/value head."""

    exponent: Float[Array, "X K Q"]
    total: Float[Array, "X K Q"]
    mixed: Float[Array, "X K Q H"]


def attend_block(
    q: Float[Array, "X K Q H"],
    keys: Float[Array, "X K H n"],
    values: Float[Array, "X K n H"],
    mask: Bool[Array, "#X #K #Q n"],
    *,
    num_places: int = 1,
) -> Partial:
    """Attention over the masked-in positions of one block, which holds ``num_places`` sequences side by side.

    Each query attends to one sequence. Which one changes no bit: only that sequence has weights to sum.
    """
    scores = jnp.einsum("xkqh,xkhn->xkqn", q, keys, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores * (q.shape[-1] ** -0.5 / math.log(2)), -jnp.inf)
    exponent = jnp.maximum(jnp.ceil(jnp.max(scores, axis=-1)), LOWEST)
    weights = jnp.exp2(scores - exponent[..., None])
    mixed = jnp.einsum("xkqn,xknh->xkqh", weights.astype(values.dtype), values, preferred_element_type=jnp.float32)
    by_place = jnp.sum(weights.reshape(*weights.shape[:3], num_places, -1), axis=-1)
    return Partial(exponent, jnp.max(by_place, axis=-1), mixed)


def over_own(queries: Float[Array, "X K Q H"], blocks: Sequence[Block], counts: Int[AnyArray, "X"]) -> list[Partial]:
    """Attention over each slot's own tokens so far, ``counts`` of them, block by block."""
    sizes = [values.shape[2] for _, values in blocks]
    return [
        attend_block(queries, keys, values, visible(counts[:, None], start, values.shape[2]))
        for start, (keys, values) in zip(block_starts(sizes), blocks, strict=True)
    ]


def over_prompts(
    queries: Float[Array, "X K Q H"], blocks: Sequence[Block], bounds: Int[AnyArray, "X places"]
) -> list[Partial]:
    """Attention over prompts: a prompt's keys and values are read once for all queries of its group of slots.

    Args:
        queries: of all slots, group by group.
        blocks: of each group, with its prompts side by side.
        bounds: number of positions of each of its group's prompts that a slot attends to.
    """
    if not blocks:
        return []
    num_groups, num_places = blocks[0][0].shape[0], bounds.shape[1]
    num_slots, num_kv_heads, group, head_dim = queries.shape
    by_slot = (num_groups, num_slots // num_groups, num_kv_heads, group)
    queries = queries.reshape(*by_slot, head_dim).swapaxes(1, 2).reshape(num_groups, num_kv_heads, -1, head_dim)
    bounds = jnp.repeat(bounds.reshape(*by_slot[:2], -1), group, axis=1)
    sizes = [values.shape[2] // num_places for _, values in blocks]
    parts = []
    for size, start, (keys, values) in zip(sizes, block_starts(sizes), blocks, strict=True):
        mask = [visible(bounds[:, :, place], start, size) for place in range(num_places)]
        parts.append(attend_block(queries, keys, values, jnp.concatenate(mask, axis=-1), num_places=num_places))

    def to_slots(x: Array) -> Array:
        x = x.reshape(num_groups, num_kv_heads, by_slot[1], group, *x.shape[3:])
        return x.swapaxes(1, 2).reshape(num_slots, num_kv_heads, group, *x.shape[4:])

    return [Partial(*map(to_slots, merge(parts)))]


def merge(parts: Sequence[Partial]) -> Partial:
    """Attention over the union of disjoint sets of positions, summed in the given order."""
    exponent = parts[0].exponent
    for part in parts[1:]:
        exponent = jnp.maximum(exponent, part.exponent)
    scales = [_power_of_two(part.exponent - exponent) for part in parts]
    total, mixed = scales[0] * parts[0].total, scales[0][..., None] * parts[0].mixed
    for scale, part in zip(scales[1:], parts[1:], strict=True):
        total, mixed = total + scale * part.total, mixed + scale[..., None] * part.mixed
    return Partial(exponent, total, mixed)


def normalized(part: Partial) -> Float[Array, "X K Q H"]:
    """The normalized sum of values; at least one position must be masked in."""
    return part.mixed / part.total[..., None]


def _power_of_two(exponent: Float[Array, "X K Q"]) -> Float[Array, "X K Q"]:
    """Exact 2**exponent for an integer exponent of at most 0; 0 below float32's normal range."""
    bits = (jnp.maximum(exponent, -127.0).astype(jnp.int32) + 127) << 23
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
