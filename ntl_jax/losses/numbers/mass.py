# SPDX-License-Identifier: Apache-2.0
"""The mass term of a number token loss, and the log-probability of all number tokens together."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ntl_jax.ops.arguments import check_arrays, check_not_negative

# The mass off the number tokens is charged slightly more than the worst number, so that naming any number is better.
OFF_NUMBER_PENALTY = 1.01


def with_number_mass(
    loss: Float[Array, "..."], number_log_mass: Float[Array, "..."], max_loss: float | Float[Array, ""]
) -> Float[Array, "..."]:
    """Adds the mass term: `m loss + 1.01 max_loss (1 - m)`, where m is the probability on number tokens.

    A number token loss sees only how the number tokens share their mass; this one also charges what the full softmax
    puts elsewhere ("reweigh" in https://github.com/ai4sd/number-token-loss, not in the paper). It knows no targets:
    positions where the loss is undefined are the caller's to mask.

    Args:
        loss: [...] per-position loss.
        number_log_mass: [...] `log m = lse(z[n]) - lse(z)`.
        max_loss: the largest possible value of `loss` (9 for WAS and 81 for MSE on digits).

    Returns:
        [...] float32; at most `1.01 max_loss`.

    Raises:
        ValueError: the shapes of `loss` and `number_log_mass` differ, or `max_loss` is negative.

    Example:
        >>> print(with_number_mass(jnp.array(4.5), jnp.log(0.25), 9.0))
        7.9425
    """
    check_arrays(loss=loss, number_log_mass=number_log_mass)
    check_not_negative(max_loss=max_loss)
    if loss.shape != number_log_mass.shape:
        raise ValueError(f"loss {loss.shape} and number_log_mass {number_log_mass.shape} must have one shape")
    log_mass = number_log_mass.astype(jnp.float32)
    off_mass = -jnp.expm1(log_mass)  # exact near m = 1, where 1 - exp(log m) would be rounding noise
    return jnp.exp(log_mass) * loss.astype(jnp.float32) + OFF_NUMBER_PENALTY * max_loss * off_mass


def number_log_mass(
    logits: Float[Array, "... V"], number_logits: Float[Array, "... M"], defined: Bool[Array, "..."]
) -> Float[Array, "..."]:
    """`lse(z[n]) - lse(z)` where defined; -inf with gradient 0 where all number tokens have probability 0."""
    possible = defined & jnp.any(number_logits != -jnp.inf, axis=-1)
    number_logits = jnp.where(possible[..., None], number_logits, 0.0).astype(jnp.float32)
    # The full logits are not modified, so that the compiler can share this log-sum-exp with a cross entropy.
    log_normalizer = jax.nn.logsumexp(_gradient_where(logits, possible).astype(jnp.float32), axis=-1)
    return jnp.where(possible, jax.nn.logsumexp(number_logits, axis=-1) - log_normalizer, -jnp.inf)


@jax.custom_jvp
def _gradient_where(logits: Array, keep: Array) -> Array:
    """The logits unchanged, but with a gradient of exactly 0, never NaN, where `keep` is False."""
    return logits


@_gradient_where.defjvp
def _gradient_where_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    logits, keep = primals
    return logits, jnp.where(keep[..., None], tangents[0], 0.0)
