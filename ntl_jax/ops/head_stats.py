# SPDX-License-Identifier: Apache-2.0
"""The statistics of one block of logits, and their gradients in closed form: the calculus of the vocabulary head.

Both forms of the head (`ntl_jax.ops.vocab_head`) are loops around these functions. With z the logits over temperature
and p their softmax: d log_prob = onehot - p, d log_normalizer = p, d entropy = -p (z - sum p z).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntl_jax.ops.arguments import check_arrays
from ntl_jax.ops.chunks import num_even_parts

# The head's gradient is accumulated this many of its D columns at a time: wide enough for the matrix units, and a
# temporary that stays small beside the [V, D] gradient itself.
HEAD_BLOCK = 256

# The logit, after the temperature, of ids with probability 0: its exponential is exactly 0, like that of -inf, but
# differences with it are finite, so entropy and gradients do not become NaN.
NO_LOGIT = -1e9


class HeadStats(NamedTuple):
    """What the vocabulary head says about each position, float32, all of `softmax(logits / temperature)`.

    Attributes:
        log_probs: [...] log-probability of the target; 0 where the target lies outside `[0, V)`.
        entropy: [...] in nats.
        log_normalizer: [...] log-sum-exp of `logits / temperature`.
        number_log_probs: [..., M] log-probabilities of the number tokens, not renormalized.

    Example: how much of the probability lies on two number tokens of four
        >>> from ntl_jax.ops import vocab_head
        >>> stats = vocab_head(jnp.ones((1, 2)), jnp.zeros((2, 4)), jnp.array([3]), jnp.array([0, 1]))
        >>> print(jnp.exp(stats.number_log_probs).sum(axis=-1).round(4))
        [0.5]
    """

    log_probs: Float[Array, "..."]
    entropy: Float[Array, "..."]
    log_normalizer: Float[Array, "..."]
    number_log_probs: Float[Array, "... M"]


def head_logits(
    hidden: Float[Array, "... D"],
    head: Float[Array, "D V"],
    temperature: float | Float[Array, ""],
    num_tokens: int | None = None,
) -> Float[Array, "... V"]:
    """The logits themselves, `hidden @ head / temperature` in float32: what `vocab_head` holds for one chunk at a time.

    Args:
        hidden: [..., D] final hidden states.
        head: [D, V].
        temperature: above 0.
        num_tokens: ids from here on get the logit -1e9. None: no ids.

    Returns:
        [..., V] float32.

    Example:
        >>> print(head_logits(jnp.array([1.0, 2.0]), jnp.eye(2, 3), 0.5))
        [2. 4. 0.]
    """
    check_arrays(hidden=hidden, head=head)
    logits = product("...d,dv->...v", hidden, head) / temperature
    if num_tokens is None or num_tokens == head.shape[1]:
        return logits
    ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
    return jnp.where(ids < num_tokens, logits, NO_LOGIT)  # not a slice, which would copy the head and gather its shards


def head_stats(logits: Float[Array, "... V"], targets: Int[Array, "..."], number_ids: Int[Array, " M"]) -> HeadStats:
    """The statistics of float32 logits; reductions and gathers only, so that the vocabulary may be sharded.

    Each exponential has one use, so that the compiler fuses it into a sum and writes out nothing of the logits' size.
    """
    peak = jax.lax.stop_gradient(jnp.max(logits, axis=-1))
    log_normalizer = jnp.log(jnp.sum(jnp.exp(logits - peak[..., None]), axis=-1)) + peak
    surprise = log_normalizer[..., None] - logits
    entropy = jnp.sum(jnp.exp(-surprise) * surprise, axis=-1)
    labeled = _labeled(targets, logits)
    target_logits = jnp.take_along_axis(logits, jnp.where(labeled, targets, 0)[..., None], axis=-1)[..., 0]
    log_probs = jnp.where(labeled, target_logits - log_normalizer, 0.0)
    return HeadStats(log_probs, entropy, log_normalizer, logits[..., number_ids] - log_normalizer[..., None])


def head_gradients(
    d_rows: Float[Array, "V D"],
    hidden: Float[Array, "C D"],
    rows: Float[Array, "V D"],
    d_logits: Float[Array, "C V"],
) -> tuple[Float[Array, "V D"], Float[Array, "C D"]]:
    """Adds the gradient of the head's rows to `d_rows` in place; returns it with that in hidden, both float32."""
    if hidden.dtype == rows.dtype:
        d_logits = d_logits.astype(rows.dtype)
    d_hidden = product("cv,vd->cd", d_logits, rows)
    # Accelerators add to the accumulator as they multiply; XLA:CPU writes the whole product out before adding it.
    d_rows = jax.lax.platform_dependent(d_rows, hidden, d_logits, cpu=_add_product_by_blocks, default=_add_product)
    return d_rows, d_hidden


def _add_product(d_rows: Array, hidden: Array, d_logits: Array) -> Array:
    return d_rows + product("cv,cd->vd", d_logits, hidden)


def _add_product_by_blocks(d_rows: Array, hidden: Array, d_logits: Array) -> Array:
    """The same, a block of columns at a time, so that the product needs little memory of its own."""
    width = d_rows.shape[1]
    num_blocks = num_even_parts(-(-width // HEAD_BLOCK), width)
    if width % num_blocks:
        return _add_product(d_rows, hidden, d_logits)
    block = width // num_blocks

    def add_block(i: Array, d_rows: Array) -> Array:
        columns, hidden_columns = (jax.lax.dynamic_slice_in_dim(x, i * block, block, axis=1) for x in (d_rows, hidden))
        columns = _add_product(columns, hidden_columns, d_logits)
        return jax.lax.dynamic_update_slice_in_dim(d_rows, columns, i * block, axis=1)

    return jax.lax.fori_loop(0, num_blocks, add_block, d_rows)


def logits_cotangent(
    logits: Float[Array, "C V"],
    targets: Int[Array, " C"],
    stats: HeadStats,
    cotangents: HeadStats,
    num_tokens: int | None = None,
) -> Float[Array, "C V"]:
    """The gradient of `sum(stats * cotangents)` in the logits, except for what enters through the number logits.

    Those touch M columns of V, which are added for all positions at once.
    """
    d_log_probs = jnp.where(_labeled(targets, logits), cotangents.log_probs, 0.0)
    d_normalizer = cotangents.log_normalizer - d_log_probs - jnp.sum(cotangents.number_log_probs, axis=-1)
    mean_logit = stats.log_normalizer - stats.entropy
    probs = jnp.exp(logits - stats.log_normalizer[:, None])
    d_logits = probs * (d_normalizer[:, None] - cotangents.entropy[:, None] * (logits - mean_logit[:, None]))
    if num_tokens is not None:  # the logit of an id with probability 0 is constant
        targets = jnp.where(targets < num_tokens, targets, -1)
    is_target = jnp.arange(logits.shape[-1], dtype=targets.dtype)[None, :] == targets[:, None]
    return d_logits + jnp.where(is_target, d_log_probs[:, None], 0.0)


def product(spec: str, x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """The einsum of two arrays, summed in float32: in their dtype where they share a narrower one, else in float32."""
    if x.dtype != y.dtype or x.dtype.itemsize > 2:
        return _float32_product(spec, x, y)
    # XLA:CPU multiplies bfloat16 no faster, and not in every layout.
    return jax.lax.platform_dependent(
        x,
        y,
        cpu=functools.partial(_float32_product, spec),
        default=functools.partial(jnp.einsum, spec, preferred_element_type=jnp.float32),
    )


def _float32_product(spec: str, x: Array, y: Array) -> Array:
    return jnp.einsum(spec, x.astype(jnp.float32), y.astype(jnp.float32))


def _labeled(targets: Array, logits: Array) -> Array:
    return (targets >= 0) & (targets < logits.shape[-1])
