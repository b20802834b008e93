# SPDX-License-Identifier: Apache-2.0
"""What every per-token formula shares: shapes that agree, float32, and bad tokens that stay where they are.

A formula that has no mask must not let a masked token spoil the gradient of the others, and must not hide a bad token
that counts. So it computes from `contain`ed inputs and puts NaN back where they were bad: `aggregate` drops the NaN of
a masked token, with a gradient of exactly zero, and shows that of a token that counts.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.ops.arguments import check_arrays, shape_remedy


def check_shapes(**arrays: Array) -> None:
    """Raises ValueError unless the named arrays have as many axes as each other, of sizes that are equal or 1."""
    check_arrays(**arrays)
    shapes = {name: array.shape for name, array in arrays.items()}
    sizes_by_axis = [set(sizes) - {1} for sizes in zip(*shapes.values(), strict=False)]
    if len({len(shape) for shape in shapes.values()}) > 1 or any(len(sizes) > 1 for sizes in sizes_by_axis):
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"shapes do not agree: {given}; all need the same axes, of equal size or 1{shape_remedy(shapes)}"
        )


def contain(*arrays: Float[Array, "..."]) -> tuple[Array, ...]:
    """Where any of the arrays is not finite, then each of them in float32 with 0 there."""
    arrays = tuple(x.astype(jnp.float32) for x in arrays)
    bad = ~functools.reduce(jnp.logical_and, map(jnp.isfinite, arrays))
    return bad, *(jnp.where(bad, 0.0, x) for x in arrays)


def absolute(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`|x|` with gradient 0 at 0, where `jnp.abs` has gradient 1 and would push away from an exact match."""
    return x * jax.lax.stop_gradient(jnp.sign(x))


def clipped_log_ratio(log_probs: Float[Array, "..."], old_log_probs: Float[Array, "..."], limit: float) -> Array:
    """`log_probs - old_log_probs` in float32 within `limit` of 0; no gradient to the old ones or beyond the limit."""
    log_ratio = log_probs.astype(jnp.float32) - jax.lax.stop_gradient(old_log_probs).astype(jnp.float32)
    return jnp.clip(log_ratio, -limit, limit)


def sequence_sums(
    x: Float[Array, "... T"], mask: Bool[Array, "... T"], segment_ids: Int[Array, "... T"] | None = None
) -> Float[Array, "... T"]:
    """For each token the sum of `x` over the masked tokens of its sequence: its row or its run of equal ids."""
    x = jnp.where(mask, x, 0.0)
    if segment_ids is None:
        return jnp.broadcast_to(jnp.sum(x, axis=-1, keepdims=True), x.shape)
    return _run_sums(x, _runs(segment_ids))


def sequence_means(
    x: Float[Array, "... T"], mask: Bool[Array, "... T"], segment_ids: Int[Array, "... T"] | None = None
) -> Float[Array, "... T"]:
    """For each token the mean of `x` over the masked tokens of its sequence; 0 where the sequence has none."""
    lengths = sequence_sums(jnp.ones_like(x), mask, segment_ids)
    return sequence_sums(x, mask, segment_ids) / jnp.maximum(lengths, 1.0)


def sequence_ends(mask: Bool[Array, "... T"], segment_ids: Int[Array, "... T"] | None = None) -> Bool[Array, "... T"]:
    """Which tokens are the last of their sequence, masked or not; without segment ids, the last of the row."""
    last = jnp.broadcast_to(jnp.arange(mask.shape[-1]) == mask.shape[-1] - 1, mask.shape)
    return last if segment_ids is None else last.at[..., :-1].set(_changes(segment_ids))


def num_sequences(mask: Bool[Array, "... T"], segment_ids: Int[Array, "... T"] | None = None) -> Float[Array, ""]:
    """Number of sequences with a token in the mask."""
    if segment_ids is None:
        return jnp.sum(jnp.any(mask, axis=-1), dtype=jnp.float32)
    return jnp.sum(_counted_runs(mask, _runs(segment_ids)), dtype=jnp.float32)


def _runs(segment_ids: Array) -> Array:
    """For each token, the index of its run of equal ids within the row, from 0."""
    first = jnp.zeros((*segment_ids.shape[:-1], 1), bool)
    return jnp.cumsum(jnp.concatenate([first, _changes(segment_ids)], axis=-1), axis=-1)


def _changes(segment_ids: Array) -> Array:
    """[..., T-1]: where a token's id differs from the one before it; 64-bit ids are compared before JAX cuts them."""
    return jnp.asarray(segment_ids[..., 1:] != segment_ids[..., :-1])


@functools.partial(jnp.vectorize, signature="(t),(t)->(t)")
def _run_sums(x: Array, run: Array) -> Array:
    """Sums over each run of one row, given back to its tokens; a row of T tokens has at most T runs."""
    return jax.ops.segment_sum(x, run, num_segments=x.shape[0])[run]


@functools.partial(jnp.vectorize, signature="(t),(t)->(t)")
def _counted_runs(mask: Array, run: Array) -> Array:
    """For each run of a row, whether it has a token in the mask."""
    return jax.ops.segment_sum(mask.astype(jnp.int32), run, num_segments=mask.shape[0]) > 0
