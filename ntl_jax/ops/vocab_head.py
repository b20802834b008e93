# SPDX-License-Identifier: Apache-2.0
"""From hidden states and the head matrix to log-probs, without ever holding the logits of more than a few positions.

`vocab_head` is the composable op: it walks over chunks of positions, and again in the backward pass, which recomputes
their logits. `vocab_head_loss` sums a loss over positions and takes its gradient in the same walk: a quarter of the
matrix products less. `vocab_head_dense` is their dense twin: the oracle of the tests, and the path of tiny problems.

The loops hold the head as rows [V, D], one a token, which is how an embedding lies in memory: of a tied head's two
transpositions nothing is left in the compiled program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntl_jax.ops.arguments import check_arrays, check_numbers
from ntl_jax.ops.chunks import join_rows, merge_axes, num_chunks, part_axis, split_rows
from ntl_jax.ops.head_stats import (
    HeadStats,
    head_gradients,
    head_logits,
    head_stats,
    logits_cotangent,
    product,
)


class Walk(NamedTuple):
    """Static arguments of a walk: the number of chunks, and the first id with probability 0."""

    num_chunks: int
    num_tokens: int | None


def vocab_head_dense(
    hidden: Float[Array, "... D"],
    head: Float[Array, "D V"],
    targets: Int[Array, "..."],
    number_ids: Int[Array, " M"],
    *,
    temperature: float | Float[Array, ""] = 1.0,
    num_tokens: int | None = None,
) -> HeadStats:
    """The same numbers as `vocab_head`, from logits [..., V] in memory and automatic differentiation.

    Args:
        hidden, head, targets, number_ids, temperature, num_tokens: as in `vocab_head`.

    Returns:
        `HeadStats`, float32.

    Raises:
        ValueError: as in `vocab_head`.

    Example:
        >>> stats = vocab_head_dense(jnp.ones((1, 2)), jnp.zeros((2, 4)), jnp.array([3]), jnp.array([0]))
        >>> print(stats.entropy.round(4))
        [1.3863]
    """
    _check(hidden, head, targets, number_ids, temperature, num_tokens)
    return head_stats(head_logits(hidden, head, _constant(temperature), num_tokens), targets, number_ids)


def vocab_head(
    hidden: Float[Array, "... D"],
    head: Float[Array, "D V"],
    targets: Int[Array, "..."],
    number_ids: Int[Array, " M"],
    *,
    temperature: float | Float[Array, ""] = 1.0,
    num_tokens: int | None = None,
    chunk_size: int | None = None,
) -> HeadStats:
    """Log-prob of the target, entropy, log-normalizer and number log-probs of `softmax(hidden @ head / temperature)`.

    Differentiable in `hidden` and `head` (not in the temperature) by a backward pass that recomputes the logits of one
    chunk of positions at a time: `[N, V]` never exists. The products run in the dtype that hidden and head share, or
    in float32, and are summed in float32; the logits and everything after them are float32. Under `jit` the head may be
    sharded over the vocabulary, `P(None, axis)`, and the positions over their first axis: only sums cross devices,
    neither the head nor the logits are gathered. A head that is also sharded over D is gathered over D once a chunk:
    constrain it to `P(None, axis)` first.

    The idea: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", https://arxiv.org/abs/2411.09009;
    theirs is a kernel that walks over blocks of the vocabulary too, this one is plain XLA.

    Args:
        hidden: [..., D] final hidden states.
        head: [D, V]; best a [V, D] array transposed, such as a tied embedding: one that lies as [D, V] is copied.
        targets: [...] token ids; ids outside `[0, V)` get log-prob 0 and no gradient.
        number_ids: [M] ids of the number tokens in `[0, V)`; M may be 0.
        temperature: above 0; a float or a traced scalar.
        num_tokens: ids in `[num_tokens, V)`, the padding rows of the head, get probability 0 and gradient 0: their
            logits are -1e9 after the temperature. None: no padding.
        chunk_size: for how many positions, of all devices together, to hold logits at a time, at most; by default as
            many as fit 32 MiB, but at least 256. More is faster on accelerators, where memory allows.

    Returns:
        `HeadStats`, float32.

    Raises:
        ValueError: mismatched shapes, a temperature or chunk size that is not above 0, or `num_tokens` outside
            `[1, V]`.

    Example:
        >>> hidden, head = jnp.ones((2, 3, 4)), jnp.eye(4, 6)
        >>> stats = vocab_head(hidden, head, jnp.zeros((2, 3), int), jnp.array([4, 5]), chunk_size=4)
        >>> stats.log_probs.shape, stats.number_log_probs.shape
        ((2, 3), (2, 3, 2))
    """
    _check(hidden, head, targets, number_ids, temperature, num_tokens, chunk_size)
    walk = Walk(num_chunks(targets.shape, head.shape[1], chunk_size), num_tokens)
    if walk.num_chunks == 1:
        return vocab_head_dense(hidden, head, targets, number_ids, temperature=temperature, num_tokens=num_tokens)
    flat_hidden, flat_targets = merge_axes((hidden, targets), targets.ndim)
    stats = _chunked_stats(walk, flat_hidden, head.T, flat_targets, number_ids, _constant(temperature))
    return part_axis(stats, targets.shape)


def vocab_head_loss(
    per_token_loss: Callable[[HeadStats, Any], Float[Array, "..."]],
    hidden: Float[Array, "... D"],
    head: Float[Array, "D V"],
    targets: Int[Array, "..."],
    number_ids: Int[Array, " M"],
    inputs: Any = (),
    *,
    temperature: float | Float[Array, ""] = 1.0,
    num_tokens: int | None = None,
    chunk_size: int | None = None,
) -> tuple[Float[Array, ""], HeadStats]:
    """`sum(per_token_loss(vocab_head(...), inputs))`, its gradient taken in the forward pass.

    Each chunk's logits are computed once: the loss's gradient in the statistics is pulled back to `hidden` and `head`
    while they are there. That needs a loss that treats positions one by one, with denominators known beforehand: put
    weights such as `mask / num_tokens` into `inputs`. Only `hidden` and `head` receive gradients. The loss may close
    over arrays that are not differentiated.

    The gradient in the forward pass: Hsu et al., "Liger Kernel", https://arxiv.org/abs/2410.10989, there for the cross
    entropy, here for any such loss.

    Args:
        per_token_loss: (stats, inputs) of C positions, without their leading axes -> [C] losses, already weighted.
        hidden, head, targets, number_ids, temperature, num_tokens, chunk_size: as in `vocab_head`.
        inputs: a pytree of arrays [..., *], one entry a position: old log-probs, advantages, weights.

    Returns:
        The sum over all positions, and `HeadStats` without gradient, for metrics; all float32.

    Raises:
        ValueError: as in `vocab_head`.

    Example:
        >>> hidden, head, targets = jnp.ones((2, 3, 4)), jnp.eye(4, 6), jnp.zeros((2, 3), int)
        >>> weights = jnp.full((2, 3), 1 / 6)
        >>> def cross_entropy(stats, weights):
        ...     return -stats.log_probs * weights
        >>> loss, stats = vocab_head_loss(cross_entropy, hidden, head, targets, jnp.array([4, 5]), weights)
        >>> f"{loss:.4f}", stats.entropy.shape
        ('1.5551', (2, 3))
    """
    _check(hidden, head, targets, number_ids, temperature, num_tokens, chunk_size)
    walk = Walk(num_chunks(targets.shape, head.shape[1], chunk_size), num_tokens)
    hidden, flat_targets, inputs = merge_axes((hidden, targets, inputs), targets.ndim)
    loss, stats = _summed_loss(
        per_token_loss, walk, hidden, head.T, flat_targets, number_ids, _constant(temperature), inputs
    )
    return loss, part_axis(jax.lax.stop_gradient(stats), targets.shape)


def _stats_by_chunks(
    walk: Walk, hidden: Array, rows: Array, targets: Array, number_ids: Array, temperature: Array
) -> HeadStats:
    """`HeadStats` of N positions, one chunk of logits at a time."""

    def chunk_stats(chunk: tuple[Array, Array]) -> HeadStats:
        hidden, targets = chunk
        return head_stats(head_logits(hidden, rows.T, temperature, walk.num_tokens), targets, number_ids)

    return join_rows(jax.lax.map(chunk_stats, split_rows((hidden, targets), walk.num_chunks)), targets.size)


def _stats_by_chunks_fwd(walk, hidden, rows, targets, number_ids, temperature):
    stats = _stats_by_chunks(walk, hidden, rows, targets, number_ids, temperature)
    return stats, (hidden, rows, targets, number_ids, temperature, stats)


def _stats_by_chunks_bwd(walk, residuals, cotangents):
    hidden, rows, targets, number_ids, temperature, stats = residuals

    def chunk_gradients(d_rows, chunk):
        hidden, targets, stats, cotangents = chunk
        logits = head_logits(hidden, rows.T, temperature, walk.num_tokens)
        d_logits = logits_cotangent(logits, targets, stats, cotangents, walk.num_tokens) / temperature
        return head_gradients(d_rows, hidden, rows, d_logits)

    chunks = split_rows((hidden, targets, stats, cotangents), walk.num_chunks)
    d_rows, d_hidden = jax.lax.scan(chunk_gradients, jnp.zeros(rows.shape, jnp.float32), chunks)
    d_number_logits = cotangents.number_log_probs / temperature
    gradients = _finished(walk, d_rows, join_rows(d_hidden, targets.size), hidden, rows, number_ids, d_number_logits)
    return *gradients, None, None, None


_chunked_stats = jax.custom_vjp(_stats_by_chunks, nondiff_argnums=(0,))
_chunked_stats.defvjp(_stats_by_chunks_fwd, _stats_by_chunks_bwd)


def _loss_by_chunks(
    per_token_loss: Callable[[HeadStats, Any], Array],
    walk: Walk,
    hidden: Array,
    rows: Array,
    targets: Array,
    number_ids: Array,
    temperature: Array,
    inputs: Any,
) -> tuple[Array, HeadStats]:
    """The loss summed over N positions, and their statistics."""
    stats = _stats_by_chunks(walk, hidden, rows, targets, number_ids, temperature)
    return jnp.sum(per_token_loss(stats, inputs)), stats


def _loss_by_chunks_fwd(per_token_loss, walk, hidden, rows, targets, number_ids, temperature, inputs):
    def chunk_loss(d_rows, chunk):
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

    chunks = split_rows((hidden, targets, inputs, jnp.ones(targets.shape, bool)), walk.num_chunks)
    d_rows, per_position = jax.lax.scan(chunk_loss, jnp.zeros(rows.shape, jnp.float32), chunks)
    losses, stats, d_hidden, d_number_logits = join_rows(per_position, targets.size)
    return (jnp.sum(losses), stats), _finished(walk, d_rows, d_hidden, hidden, rows, number_ids, d_number_logits)


def _loss_by_chunks_bwd(per_token_loss, walk, gradients, cotangents):
    d_hidden, d_rows = (gradient * cotangents[0].astype(gradient.dtype) for gradient in gradients)
    return d_hidden, d_rows, None, None, None, None


_summed_loss = jax.custom_vjp(_loss_by_chunks, nondiff_argnums=(0, 1))
_summed_loss.defvjp(_loss_by_chunks_fwd, _loss_by_chunks_bwd)


def _finished(walk, d_rows, d_hidden, hidden, rows, number_ids, d_number_logits):
    """Adds what enters through the number logits, for all positions at once, and casts to the inputs' dtypes."""
    if walk.num_tokens is not None:
        d_number_logits = jnp.where((number_ids < walk.num_tokens)[None, :], d_number_logits, 0.0)
    if hidden.dtype == rows.dtype:
        d_number_logits = d_number_logits.astype(rows.dtype)
    d_hidden += product("nm,md->nd", d_number_logits, rows[number_ids])
    d_number_rows = product("nm,nd->md", d_number_logits, hidden)
    return d_hidden.astype(hidden.dtype), d_rows.at[number_ids].add(d_number_rows).astype(rows.dtype)


def _constant(temperature: float | Array) -> Array:
    return jax.lax.stop_gradient(jnp.asarray(temperature, jnp.float32))


def _like(mask: Array, x: Array) -> Array:
    """The mask [C] broadcast to the shape of x [C, *]."""
    return jnp.broadcast_to(mask.reshape(-1, *[1] * (x.ndim - 1)), x.shape)


def _check(
    hidden: Array,
    head: Array,
    targets: Array,
    number_ids: Array,
    temperature: float | Array,
    num_tokens: int | None,
    chunk_size: int | None = None,
) -> None:
    """ValueError for shapes that do not fit and for settings out of range."""
    check_arrays(hidden=hidden, head=head, targets=targets, number_ids=number_ids)
    if head.ndim != 2 or hidden.shape[-1:] != head.shape[:1]:
        raise ValueError(f"hidden {hidden.shape} and head {head.shape} do not fit: they are [..., D] and [D, V]")
    if hidden.shape[:-1] != targets.shape:
        raise ValueError(f"targets {targets.shape} must have the shape {hidden.shape[:-1]} of the positions")
    check_numbers("above 0: greedy log-probs are those of temperature 1", lambda x: x > 0, temperature=temperature)
    if num_tokens is not None:
        allowed = f"in [1, {head.shape[1]}], the ids of the head, or None for all"
        check_numbers(allowed, lambda x: (x >= 1) & (x <= head.shape[1]) & (x % 1 == 0), num_tokens=num_tokens)
    if chunk_size is not None:
        check_numbers("at least 1, or None for the default", lambda x: x >= 1, chunk_size=chunk_size)
