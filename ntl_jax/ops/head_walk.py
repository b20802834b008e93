# SPDX-License-Identifier: Apache-2.0
"""The two loops of the vocabulary head over chunks of N positions, each with its gradient.

The loops hold the head as rows [V, D], one a token, which is how an embedding lies in memory: of a tied head's two
transpositions nothing is left in the compiled program.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ntl_jax.ops.chunks import join_rows, split_rows
from ntl_jax.ops.head_stats import HeadStats, head_gradients, head_logits, head_stats, logits_cotangent, product
from ntl_jax.ops.spread import Spread, walk_by_device

Inputs = TypeVar("Inputs")
"""A tree of arrays with an entry a position."""

# N stands for all positions, or for those of a chunk.
Hidden = Float[Array, "N D"]
Rows = Float[Array, "V D"]
Ids = Int[Array, "N"]
NumberIds = Int[Array, "M"]
Losses = Float[Array, "N"]
NumberLogits = Float[Array, "N M"]
Scalar = Float[Array, ""]


class Walk(NamedTuple):
    """Static arguments of a walk: the number of chunks, the first id with probability 0, and how positions lie."""

    num_chunks: int
    num_tokens: int | None
    spread: Spread | None = None


def _stats_by_chunks(
    walk: Walk, hidden: Hidden, rows: Rows, targets: Ids, number_ids: NumberIds, temperature: Scalar
) -> HeadStats:
    """`HeadStats` of N positions, one chunk of logits at a time."""

    def chunk_stats(chunk: tuple[Hidden, Ids]) -> HeadStats:
        hidden, targets = chunk
        return head_stats(head_logits(hidden, rows.T, temperature, walk.num_tokens), targets, number_ids)

    return join_rows(jax.lax.map(chunk_stats, split_rows((hidden, targets), walk.num_chunks)), targets.size)


class _Residuals(NamedTuple):
    """What the backward pass needs: the arguments and the statistics."""

    hidden: Hidden
    rows: Rows
    targets: Ids
    number_ids: NumberIds
    temperature: Scalar
    stats: HeadStats


def _stats_by_chunks_fwd(
    walk: Walk, hidden: Hidden, rows: Rows, targets: Ids, number_ids: NumberIds, temperature: Scalar
) -> tuple[HeadStats, _Residuals]:
    stats = _stats_by_chunks(walk, hidden, rows, targets, number_ids, temperature)
    return stats, _Residuals(hidden, rows, targets, number_ids, temperature, stats)


def _stats_by_chunks_bwd(
    walk: Walk, residuals: _Residuals, cotangents: HeadStats
) -> tuple[Hidden, Rows, None, None, None]:
    hidden, rows, targets, number_ids, temperature, stats = residuals
    positions, whole = (hidden, targets, stats, cotangents), (rows, number_ids, temperature)
    gradients = walk_by_device(partial(_gradients_by_chunks, walk), walk.spread, positions, whole)
    return *gradients, None, None, None


def _gradients_by_chunks(
    walk: Walk, positions: tuple[Hidden, Ids, HeadStats, HeadStats], whole: tuple[Rows, NumberIds, Scalar]
) -> tuple[Hidden, Rows]:
    """Gradients of N positions, or of one device's, in their states and, float32, in the head's rows."""
    (hidden, targets, _, cotangents), (rows, number_ids, temperature) = positions, whole

    def chunk_gradients(d_rows: Rows, chunk: tuple[Hidden, Ids, HeadStats, HeadStats]) -> tuple[Rows, Hidden]:
        hidden, targets, stats, cotangents = chunk
        logits = head_logits(hidden, rows.T, temperature, walk.num_tokens)
        d_logits = logits_cotangent(logits, targets, stats, cotangents, walk.num_tokens) / temperature
        return head_gradients(d_rows, hidden, rows, d_logits)

    chunks = split_rows(positions, walk.num_chunks)
    d_rows, d_hidden = jax.lax.scan(chunk_gradients, jnp.zeros(rows.shape, jnp.float32), chunks)
    d_number_logits = cotangents.number_log_probs / temperature
    return _finished(walk, d_rows, join_rows(d_hidden, targets.size), hidden, rows, number_ids, d_number_logits)


chunked_stats = jax.custom_vjp(_stats_by_chunks, nondiff_argnums=(0,))
chunked_stats.defvjp(_stats_by_chunks_fwd, _stats_by_chunks_bwd)


def _loss_by_chunks(
    per_token_loss: Callable[[HeadStats, Inputs], Losses],
    walk: Walk,
    hidden: Hidden,
    rows: Rows,
    targets: Ids,
    number_ids: NumberIds,
    temperature: Scalar,
    inputs: Inputs,
) -> tuple[Float[Array, ""], HeadStats]:
    """The loss summed over N positions, and their statistics."""
    stats = _stats_by_chunks(walk, hidden, rows, targets, number_ids, temperature)
    return jnp.sum(per_token_loss(stats, inputs)), stats


def _loss_by_chunks_fwd(
    per_token_loss: Callable[[HeadStats, Inputs], Losses],
    walk: Walk,
    hidden: Hidden,
    rows: Rows,
    targets: Ids,
    number_ids: NumberIds,
    temperature: Scalar,
    inputs: Inputs,
) -> tuple[tuple[Float[Array, ""], HeadStats], tuple[Hidden, Rows]]:
    positions, whole = (hidden, targets, inputs), (rows, number_ids, temperature)
    by_device = walk_by_device(partial(_losses_by_chunks, per_token_loss, walk), walk.spread, positions, whole)
    (losses, stats, d_hidden), d_rows = by_device
    return (jnp.sum(losses), stats), (d_hidden, d_rows)


def _losses_by_chunks(
    per_token_loss: Callable[[HeadStats, Inputs], Losses],
    walk: Walk,
    positions: tuple[Hidden, Ids, Inputs],
    whole: tuple[Rows, NumberIds, Scalar],
) -> tuple[tuple[Losses, HeadStats, Hidden], Rows]:
    """Losses, statistics and gradients of N positions, or of one device's; that in the head's rows is float32."""
    (hidden, targets, _), (rows, number_ids, temperature) = positions, whole

    def chunk_loss(
        d_rows: Rows, chunk: tuple[Hidden, Ids, Inputs, Bool[Array, "C"]]
    ) -> tuple[Rows, tuple[Losses, HeadStats, Hidden, NumberLogits]]:
        hidden, targets, inputs, is_position = chunk
        logits = head_logits(hidden, rows.T, temperature, walk.num_tokens)
        # The barrier parts the two uses of the logits: nothing of their size is kept from one for the other.
        stats = jax.lax.optimization_barrier(head_stats(logits, targets, number_ids))
        losses, pull_back = jax.vjp(lambda stats: per_token_loss(stats, inputs), stats)
        (d_stats,) = pull_back(jnp.ones_like(losses))
        # The gradient may be anything, NaN included, on the zeros that only fill up the last chunk.
        d_stats = jax.tree.map(lambda x: jnp.where(_like(is_position, x), x, 0.0), d_stats)
        d_logits = logits_cotangent(logits, targets, stats, d_stats, walk.num_tokens) / temperature
        d_rows, d_hidden = head_gradients(d_rows, hidden, rows, d_logits)
        return d_rows, (losses, stats, d_hidden, d_stats.number_log_probs / temperature)

    chunks = split_rows((*positions, jnp.ones(targets.shape, bool)), walk.num_chunks)
    d_rows, per_position = jax.lax.scan(chunk_loss, jnp.zeros(rows.shape, jnp.float32), chunks)
    losses, stats, d_hidden, d_number_logits = join_rows(per_position, targets.size)
    d_hidden, d_rows = _finished(walk, d_rows, d_hidden, hidden, rows, number_ids, d_number_logits)
    return (losses, stats, d_hidden), d_rows


def _loss_by_chunks_bwd(
    per_token_loss: Callable[[HeadStats, PyTree], Losses],
    walk: Walk,
    gradients: tuple[Hidden, Rows],
    cotangents: tuple[Float[Array, ""], HeadStats],
) -> tuple[Hidden, Rows, None, None, None, None]:
    d_hidden, d_rows = (gradient * cotangents[0].astype(gradient.dtype) for gradient in gradients)
    return d_hidden, d_rows, None, None, None, None


summed_loss = jax.custom_vjp(_loss_by_chunks, nondiff_argnums=(0, 1))
summed_loss.defvjp(_loss_by_chunks_fwd, _loss_by_chunks_bwd)


def _finished(
    walk: Walk,
    d_rows: Rows,
    d_hidden: Hidden,
    hidden: Hidden,
    rows: Rows,
    number_ids: NumberIds,
    d_number_logits: NumberLogits,
) -> tuple[Hidden, Rows]:
    """Adds what enters through the number logits, for all positions at once; that in the rows stays float32."""
    if walk.num_tokens is not None:
        d_number_logits = jnp.where((number_ids < walk.num_tokens)[None, :], d_number_logits, 0.0)
    if hidden.dtype == rows.dtype:
        d_number_logits = d_number_logits.astype(rows.dtype)
    d_hidden += product("nm,md->nd", d_number_logits, rows[number_ids])
    d_number_rows = product("nm,nd->md", d_number_logits, hidden)
    return d_hidden.astype(hidden.dtype), d_rows.at[number_ids].add(d_number_rows)


def _like(mask: Array, x: Array) -> Array:
    """The mask [C] broadcast to the shape of x [C, *]."""
    return jnp.broadcast_to(mask.reshape(-1, *[1] * (x.ndim - 1)), x.shape)
