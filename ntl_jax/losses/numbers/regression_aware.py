# SPDX-License-Identifier: Apache-2.0
"""Losses of a number that is read as its expected value over the vocabulary: RAFT, and REAL's part of the gradient.

Both take log-probs over the whole vocabulary (`HeadStats.number_log_probs`, or `z[n] - lse(z)`), not bare logits: what
lies off the number tokens counts as the value 0. That is how they differ from `number_token_mse`, which divides by the
number tokens' probability.

Deviation from both papers: any table of number tokens, where they take the scores 1 to 5 or 0 to 9; tokens of one value
count together.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntl_jax.losses.numbers.number_token import value_gaps
from ntl_jax.ops.arguments import check_not_negative

# An impossible truth costs what the smallest positive float32 probability does: log 2^-149, rounded.
LEAST_LOG_PROB = -103.0


def number_token_raft(
    number_log_probs: Float[Array, "... M"], targets: Float[Array, "..."], values: Float[Array, " M"]
) -> Float[Array, "..."]:
    """RAFT, the squared error of the expected value over the vocabulary: `(sum_j p_j v_j - y)^2`.

    Source: Lukasik et al., "Better autoregressive regression with LLMs via regression-aware fine-tuning", ICLR 2025,
    https://openreview.net/forum?id=xGs7Ch3Vyo; after a chain of thought: TRACT, https://arxiv.org/abs/2503.04381, code
    https://github.com/d223302/TRACT, with weight 1 in the place of the cross entropy of the score.

    Args:
        number_log_probs: [..., M] log-probs of the number tokens in the whole vocabulary.
        targets: [...] true values; NaN where undefined.
        values: [M] values of the number tokens, in any order.

    Returns:
        [...] float32, in squared units of the values; at most `d^2`, d being the range of the values and 0 together,
        which it is where no number token is possible.

    Raises:
        ValueError: shapes that do not fit.

    Example: half on 8, half on a word
        >>> log_probs = jnp.log(0.5 * jnp.eye(10))[8]
        >>> print(number_token_raft(log_probs, jnp.array(8.0), jnp.arange(10.0)))
        16.0
    """
    gaps, defined = value_gaps(number_log_probs, targets, values, name="number_log_probs")
    possible = defined & jnp.any(number_log_probs != -jnp.inf, axis=-1)
    probs = jnp.exp(jnp.where(possible[..., None], number_log_probs, 0.0).astype(jnp.float32))
    # sum p (v - y) - (1 - sum p) y: the sum of p v less y, with less rounding where p is nearly all on y.
    truth = jnp.where(defined, targets, 0.0).astype(jnp.float32)
    error = jnp.sum(probs * gaps, axis=-1) - (1.0 - jnp.sum(probs, axis=-1)) * truth
    values = values.astype(jnp.float32)
    largest = jnp.maximum(jnp.max(values), 0.0) - jnp.minimum(jnp.min(values), 0.0)
    return jnp.where(defined, jnp.square(jnp.where(possible, error, largest)), 0.0)


def number_token_real(
    number_log_probs: Float[Array, "... M"],
    targets: Float[Array, "..."],
    values: Float[Array, " M"],
    *,
    likelihood_weight: float = 1.0,
) -> Float[Array, "..."]:
    """REAL's reward with a minus: `(sum_j p_j v_j - y)^2 - likelihood_weight log p_y`.

    Source: Zhang et al., "REAL: Regression-Aware Reinforcement Learning for LLM-as-a-Judge", ICML 2026,
    https://arxiv.org/abs/2603.17145, code https://github.com/YasminZhang/REAL. A reward r that depends on the policy
    has the gradient `E[r grad log pi(thought)] + E[grad r]`. The first half is a policy loss whose advantages come from
    the score r, without gradient (`leave_one_out_advantages`, `reinforce_policy_loss`); this loss at the answer's token
    is the second, exact half. Their sum with weight 1 is the whole gradient, so no sampled answer token is needed.

    Deviations: per token, where the paper has one token per answer; an impossible truth has log-probability -103.

    Args:
        number_log_probs: [..., M] log-probs of the number tokens in the whole vocabulary.
        targets: [...] true values, each of them the value of a token; NaN where undefined.
        values: [M] values of the number tokens, in any order.
        likelihood_weight: lambda, in squared units of the values per nat; 0 leaves RAFT.

    Returns:
        [...] float32, in squared units of the values; unbounded with a likelihood.

    Raises:
        ValueError: shapes that do not fit, or a negative `likelihood_weight`.

    Example: half on 8, half on a word: 16 + ln 2
        >>> log_probs = jnp.log(0.5 * jnp.eye(10))[8]
        >>> print(number_token_real(log_probs, jnp.array(8.0), jnp.arange(10.0)).round(4))
        16.6931
    """
    check_not_negative(likelihood_weight=likelihood_weight)
    squared_error = number_token_raft(number_log_probs, targets, values)
    gaps, defined = value_gaps(number_log_probs, targets, values, name="number_log_probs")
    at_truth = defined[..., None] & (gaps == 0.0) & (number_log_probs != -jnp.inf)
    possible = jnp.any(at_truth, axis=-1)
    kept = jnp.where(at_truth, number_log_probs.astype(jnp.float32), -jnp.inf)
    log_prob = jax.nn.logsumexp(jnp.where(possible[..., None], kept, 0.0), axis=-1)
    surprise = -jnp.where(possible, log_prob, LEAST_LOG_PROB)
    return jnp.where(defined, squared_error + likelihood_weight * surprise, 0.0)
