# SPDX-License-Identifier: Apache-2.0
"""Losses against softened targets: part of the probability belongs to the numbers near the true one.

Both targets are Gaussian in the distance to the truth. They differ in what is compared with the target: DIST2 takes the
distribution over the number tokens alone, label smoothing the probabilities of the whole vocabulary.

A number token whose logit is -inf cannot be chosen, so the target leaves it out too; where all of them are -inf there
is nothing to compare, and the loss is 0. Both losses are in nats and unbounded.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ntl_jax.losses.numbers.number_token import value_gaps
from ntl_jax.ops.arguments import check_numbers

# Larger logits are cut to it, so that their differences stay within float32.
LARGEST_LOGIT = 1e30


def number_token_dist2(
    number_logits: Float[Array, "... M"],
    targets: Float[Array, "..."],
    values: Float[Array, " M"],
    *,
    temperature: float = 1.0,
) -> Float[Array, "..."]:
    """DIST2: `sum_j t_j log(t_j / q_j)` with the target `t = softmax(-(v_j - y)^2 / temperature)`.

    Source: Chung et al., "Teaching Metric Distance to Discrete Autoregressive Language Models", ICLR 2026,
    https://arxiv.org/abs/2503.02379; there beside cross entropy with weight 0.1 and temperature 1. Its own code is not
    public; q, the softmax over the number tokens, is that of the code that DEL is compared with
    (https://github.com/PolyU-VCLab/DEL, `DIST2loss`). Deviation: no weight by decimal place, there and in the paper's
    appendix.

    Args:
        number_logits: [..., M] logits or log-probs of the number tokens; -inf leaves a token out.
        targets: [...] true values; NaN where undefined.
        values: [M] values of the number tokens, in any order.
        temperature: in squared units of the values; above 0. Twice the variance of the target.

    Returns:
        [...] float32, in nats; 0 where q is the target, unbounded.

    Raises:
        ValueError: shapes that do not fit, or `temperature` not above 0.

    Example: among 3, 4 and 5 the target is 0.212, 0.576, 0.212
        >>> log_probs = jnp.log(jnp.array([[0.212, 0.576, 0.212], [1 / 3, 1 / 3, 1 / 3]]))
        >>> print(number_token_dist2(log_probs, jnp.full(2, 4.0), jnp.array([3.0, 4.0, 5.0])).round(3))
        [0.    0.123]
    """
    check_numbers("above 0: it is the width of the target", lambda x: x > 0, temperature=temperature)
    gaps, defined = value_gaps(number_logits, targets, values)
    compared = _compared(number_logits, defined)
    log_target = _log_target(jnp.square(gaps) / temperature, compared)
    log_probs = jax.nn.log_softmax(jnp.where(_any(compared), _finite(number_logits, compared, -jnp.inf), 0.0), axis=-1)
    return _expected(log_target, log_target, compared) - _expected(log_target, log_probs, compared)


def number_token_gaussian(
    number_log_probs: Float[Array, "... M"],
    targets: Float[Array, "..."],
    values: Float[Array, " M"],
    *,
    sigma: float = 1.0,
) -> Float[Array, "..."]:
    """Gaussian label smoothing: `-sum_j t_j log p_j` with the target `t_j ~ exp(-(v_j - y)^2 / (2 sigma^2))`.

    Source: the baseline of Zausinger et al., https://arxiv.org/abs/2411.02083, in their code
    (https://github.com/tum-ai/number-token-loss, `GaussianLabelSmoother`), where it takes the place of the cross
    entropy of number tokens. Deviation: no epsilon of 1e-8 in the target's sum.

    Args:
        number_log_probs: [..., M] log-probs of the number tokens in the whole vocabulary, `z[n] - lse(z)`; of
            bare logits the loss would mean nothing.
        targets: [...] true values; NaN where undefined.
        values: [M] values of the number tokens, in any order.
        sigma: standard deviation of the target, in units of the values; above 0.

    Returns:
        [...] float32, in nats; at least the entropy of the target (with sigma 1 on digits: 0.92 at 0 and 9, up to 1.42
        between), unbounded.

    Raises:
        ValueError: shapes that do not fit, or `sigma` not above 0.

    Example: each digit has probability 1/20
        >>> print(number_token_gaussian(jnp.full((1, 10), jnp.log(0.05)), jnp.array([4.0]), jnp.arange(10.0)).round(4))
        [2.9957]
    """
    check_numbers("above 0: it is the width of the target", lambda x: x > 0, sigma=sigma)
    gaps, defined = value_gaps(number_log_probs, targets, values, name="number_log_probs")
    compared = _compared(number_log_probs, defined)
    log_target = _log_target(jnp.square(gaps) / (2.0 * sigma**2), compared)
    return -_expected(log_target, _finite(number_log_probs, compared, 0.0), compared)


def _compared(number_logits: Array, defined: Array) -> Bool[Array, "... M"]:
    """The tokens that take part: the possible ones of the defined positions."""
    return defined[..., None] & (number_logits != -jnp.inf)


def _any(compared: Array) -> Array:
    return jnp.any(compared, axis=-1, keepdims=True)


def _finite(number_logits: Array, compared: Array, otherwise: float) -> Array:
    """The first half of the double-where: float32 logits where they take part."""
    logits = jnp.where(compared, number_logits.astype(jnp.float32), 0.0)
    return jnp.where(compared, jnp.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT), otherwise)


def _log_target(costs: Array, compared: Array) -> Array:
    """Logarithm of the target `softmax(-costs)` over the tokens that take part."""
    return jax.nn.log_softmax(jnp.where(_any(compared), jnp.where(compared, -costs, -jnp.inf), 0.0), axis=-1)


def _expected(log_target: Array, x: Array, compared: Array) -> Array:
    """The mean of x under the target; tokens with no share of it do not count, whatever x is."""
    counts = compared & (log_target != -jnp.inf)
    return jnp.sum(jnp.where(counts, jnp.exp(log_target) * jnp.where(counts, x, 0.0), 0.0), axis=-1)
