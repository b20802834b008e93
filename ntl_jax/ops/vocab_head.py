# SPDX-License-Identifier: Apache-2.0
"""From hidden states and the head matrix to log-probs, without ever holding the logits of more than a few positions.

`vocab_head` is the composable op: it walks over chunks of positions, and again in the backward pass, which recomputes
their logits. `vocab_head_loss` sums a loss over positions and takes its gradient in the same walk: a quarter of the
matrix products less. `vocab_head_dense` is their dense twin: the oracle of the tests, and the path of tiny problems.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ntl_jax.ops.arguments import check_arrays, check_numbers
from ntl_jax.ops.chunks import merge_axes, num_chunks, part_axis
from ntl_jax.ops.head_stats import HeadStats, head_logits, head_stats
from ntl_jax.ops.head_walk import Walk, chunked_stats, summed_loss
from ntl_jax.ops.spread import Spread


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
    spread: Spread | None = None,
) -> HeadStats:
    """Log-prob of the target, entropy, log-normalizer and number log-probs of `softmax(hidden @ head / temperature)`.

    Differentiable in `hidden` and `head` (not in the temperature) by a backward pass that recomputes the logits of one
    chunk of positions at a time: `[N, V]` never exists. The products run in the dtype that hidden and head share, or
    in float32, and are summed in float32; the logits and everything after them are float32. Under `jit` the head may be
    sharded over the vocabulary, `P(None, axis)`, and the positions over their first axis: only sums cross devices,
    neither the head nor the logits are gathered. A head that is also sharded over D is gathered over D once a chunk:
    constrain it to `P(None, axis)` first. Its gradient may be summed over the devices of the positions once a chunk;
    with ``spread`` it is once.

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
        spread: how positions and head lie on the mesh that ``jax.set_mesh`` sets. None: the compiler finds it out.

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
    walk = Walk(num_chunks(targets.shape, head.shape[1], chunk_size), num_tokens, spread)
    if walk.num_chunks == 1:
        return vocab_head_dense(hidden, head, targets, number_ids, temperature=temperature, num_tokens=num_tokens)
    flat_hidden, flat_targets = merge_axes((hidden, targets), targets.ndim)
    stats = chunked_stats(walk, flat_hidden, head.T, flat_targets, number_ids, _constant(temperature))
    return part_axis(stats, targets.shape)


def vocab_head_loss(
    per_token_loss: Callable[[HeadStats, PyTree], Float[Array, "..."]],
    hidden: Float[Array, "... D"],
    head: Float[Array, "D V"],
    targets: Int[Array, "..."],
    number_ids: Int[Array, " M"],
    inputs: PyTree = (),
    *,
    temperature: float | Float[Array, ""] = 1.0,
    num_tokens: int | None = None,
    chunk_size: int | None = None,
    spread: Spread | None = None,
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
        hidden, head, targets, number_ids, temperature, num_tokens, chunk_size, spread: as in `vocab_head`.
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
    walk = Walk(num_chunks(targets.shape, head.shape[1], chunk_size), num_tokens, spread)
    hidden, flat_targets, inputs = merge_axes((hidden, targets, inputs), targets.ndim)
    loss, stats = summed_loss(
        per_token_loss, walk, hidden, head.T, flat_targets, number_ids, _constant(temperature), inputs
    )
    return loss, part_axis(jax.lax.stop_gradient(stats), targets.shape)


def _constant(temperature: float | Array) -> Array:
    return jax.lax.stop_gradient(jnp.asarray(temperature, jnp.float32))


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
