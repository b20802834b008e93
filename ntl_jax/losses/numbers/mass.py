# SPDX-License-Identifier: Apache-2.0
"""The log-probability of all number tokens together, which the mass term of the loss penalizes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


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
