# SPDX-License-Identifier: Apache-2.0
"""Truncates a distribution to likely tokens: min-p, then top-k, then top-p, in vLLM's order.

Tokens as likely as the last kept one are kept too: the support depends on the probabilities, not on the ids. Thresholds
are found by bisection over the bits of the logits: 32 reductions over the vocabulary, no sort.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

SIGN = np.uint32(1 << 31)


class Truncation(NamedTuple):
    """Scalars, as `Sampling` defines them; top_k=0, top_p=1 and min_p=0 keep all tokens."""

    top_p: Float[Array, ""] | np.float32
    top_k: Int[Array, ""] | np.int32
    min_p: Float[Array, ""] | np.float32


def truncate(logits: Float[Array, "X V"], truncation: Truncation) -> Float[Array, "X V"]:
    """Logits with -inf outside the support.

    Example:
        >>> logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
        >>> kept = truncate(logits, Truncation(jnp.float32(0.7), jnp.int32(0), jnp.float32(0.0)))
        >>> jnp.isfinite(kept).tolist()
        [[True, True, False, False]]
    """
    relative = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.where(relative >= truncation.min_p, relative, 0.0)
    ordered = _ordered_bits(logits)
    top_k = jnp.where(truncation.top_k > 0, truncation.top_k, logits.shape[-1])
    least = _threshold(ordered, jnp.ones_like(weights), jnp.full(len(logits), top_k, jnp.float32))
    weights = jnp.where(ordered >= least[:, None], weights, 0.0)
    least = _threshold(ordered, weights, truncation.top_p * jnp.sum(weights, axis=-1))
    in_nucleus = (ordered >= least[:, None]) | (truncation.top_p >= 1)
    return jnp.where(in_nucleus & (weights > 0), logits, -jnp.inf)


def _ordered_bits(x: Float[Array, "X V"]) -> Array:
    """Unsigned integers that sort like the float32 values."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    return jnp.where(bits & SIGN != 0, ~bits, bits | SIGN)


def _threshold(ordered: Array, weights: Float[Array, "X V"], needed: Float[Array, "X"]) -> Array:
    """Per row, the largest bound such that entries at or above it have total weight ``needed``, [X] uint32."""

    def try_bit(i: Array, bound: Array) -> Array:
        candidate = bound | jnp.uint32(1) << (31 - i).astype(jnp.uint32)
        weight = jnp.sum(jnp.where(ordered >= candidate[:, None], weights, 0.0), axis=-1)
        return jnp.where(weight >= needed, candidate, bound)

    return jax.lax.fori_loop(0, 32, try_bit, jnp.zeros(len(weights), jnp.uint32))
