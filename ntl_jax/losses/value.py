# SPDX-License-Identifier: Apache-2.0
"""The critic's loss, per token; `aggregate` reduces it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntl_jax.losses.per_token import contain
from ntl_jax.ops.arguments import check_not_negative, check_same_shape


def clipped_value_loss(
    values: Float[Array, "..."],
    old_values: Float[Array, "..."],
    returns: Float[Array, "..."],
    *,
    clip: float = 0.5,
) -> Float[Array, "..."]:
    """Squared error of the critic that gains nothing from moving a value further than `clip` in one iteration.

    `0.5 max((v - R)^2, (clip(v, v_old - clip, v_old + clip) - R)^2)`.

    The loss of the reference PPO code, https://github.com/openai/baselines (`ppo2`); Schulman et al.,
    https://arxiv.org/abs/1707.06347, has the squared error alone: `clip=float("inf")`.

    Args:
        values: [...] the critic's estimates, in units of reward.
        old_values: [...] its estimates before the first update of the iteration; no gradient.
        returns: [...] what it should have estimated; no gradient.
        clip: largest move that is rewarded, in units of reward.

    Returns:
        [...] float32 loss per token; NaN, with gradient zero, where an input is not finite.

    Raises:
        ValueError: the shapes do not agree, or `clip` is negative.

    Example:
        >>> clipped_value_loss(jnp.array([1.0]), jnp.array([0.0]), jnp.array([2.0])).tolist()
        [1.125]
    """
    check_same_shape(values=values, old_values=old_values, returns=returns)
    check_not_negative(clip=clip)
    bad, values, old_values, returns = contain(values, *jax.lax.stop_gradient((old_values, returns)))
    clipped = jnp.clip(values, old_values - clip, old_values + clip)
    return jnp.where(bad, jnp.nan, 0.5 * jnp.maximum((values - returns) ** 2, (clipped - returns) ** 2))
