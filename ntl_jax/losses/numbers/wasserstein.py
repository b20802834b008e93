# SPDX-License-Identifier: Apache-2.0
"""The Wasserstein-1 distance between number distributions, for targets that are no single number.

Deviation from the widely copied form, which sums the differences of the cumulative distributions and is right only for
values one apart: here each difference is weighted by the gap to the next value, and the values are sorted inside.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntl_jax.losses.numbers.number_token import number_probs
from ntl_jax.losses.per_token import absolute
from ntl_jax.ops.arguments import check_arrays


def wasserstein_1(
    number_logits: Float[Array, "... M"], target_probs: Float[Array, "... M"], values: Float[Array, " M"]
) -> Float[Array, "..."]:
    """Wasserstein-1 distance to a target distribution t: `sum_i (v_{i+1} - v_i) |CDF_q(v_i) - CDF_t(v_i)|`.

    For a point mass it equals `number_token_wasserstein`. Source: the closed form of the one-dimensional distance, e.g.
    Peyré and Cuturi, "Computational Optimal Transport", section 2.6, https://arxiv.org/abs/1803.00567.

    Args:
        number_logits: [..., M] logits or log-probs of the number tokens.
        target_probs: [..., M] target probabilities, in the order of `values`, with sum 1; a row that holds NaN is
            undefined: loss and gradient 0.
        values: [M] values of the number tokens, in any order and unevenly spaced.

    Returns:
        [...] float32, in units of `values`; where no number token has any probability, `max - min` of the values.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> half = jnp.array([0.5, 0.5, 0.0])
        >>> print(wasserstein_1(jnp.log(jnp.array([0.0, 0.5, 0.5])), half, jnp.array([1.0, 2.0, 10.0])))
        4.5
    """
    check_arrays(number_logits=number_logits, target_probs=target_probs, values=values)
    if number_logits.shape != target_probs.shape or number_logits.shape[-1:] != values.shape:
        raise ValueError(
            f"number_logits {number_logits.shape} and target_probs {target_probs.shape} must have one shape, which "
            f"ends in one entry for each of the values {values.shape}"
        )
    values = jnp.asarray(values, jnp.float32)
    defined = ~jnp.any(jnp.isnan(target_probs), axis=-1)
    target_probs = jnp.where(defined[..., None], target_probs, 0.0).astype(jnp.float32)
    probs, possible = number_probs(number_logits, defined)
    order = jnp.argsort(values)
    cdf_gaps = jnp.cumsum((probs - target_probs)[..., order], axis=-1)[..., :-1]
    steps = jnp.broadcast_to(jnp.diff(values[order]), cdf_gaps.shape)
    distance = jnp.sum(steps * absolute(cdf_gaps), axis=-1)
    return jnp.where(defined, jnp.where(possible, distance, jnp.max(values) - jnp.min(values)), 0.0)
