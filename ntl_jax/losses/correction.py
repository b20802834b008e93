# SPDX-License-Identifier: Apache-2.0
"""Weights for tokens that were sampled by a policy other than the one that the trainer holds.

An inference engine in another precision, or with older weights, samples from `pi_rollout` while the trainer computes
`pi_old`. The policy loss of each token is multiplied by `w = pi_old / pi_rollout`, kept in bounds. A sequence's weight,
`exp(sum_t log w_t)`, stands on each of its tokens. Weights are constants: they carry no gradient.

`old_log_probs` must come from one forward pass before the first update of the iteration: computed after it, the ratio
of the policy loss is 1 and its clip never fires.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.kl import k3_statistic, kl_k1
from ntl_jax.losses.per_token import sequence_means, sequence_sums
from ntl_jax.ops.arguments import (
    check_bounds,
    check_mask,
    check_not_negative,
    check_numbers,
    check_same_shape,
    check_segment_ids,
)
from ntl_jax.ops.masked import masked_sum

MAX_LOG_WEIGHT = 20.0  # exp(20) is 4.9e8, and its square still fits float32 in the effective sample size

Level = Literal["token", "sequence"]


def truncated_importance_weights(
    old_log_probs: Float[Array, "... T"],
    rollout_log_probs: Float[Array, "... T"],
    mask: Bool[Array, "... T"],
    *,
    cap: float = 2.0,
    level: Level = "token",
    segment_ids: Int[Array, "... T"] | None = None,
) -> Float[Array, "... T"]:
    """`min(w, cap)`: a little bias for bounded variance.

    Truncated importance sampling (TIS): Ionides, 2008, https://doi.org/10.1198/106186008X320456; for rollouts: Yao et
    al., "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training",
    https://fengyao.notion.site/off-policy-rl.

    Args:
        old_log_probs: [..., T] log-probabilities (nats) of the sampled tokens under the trainer's policy.
        rollout_log_probs: [..., T] the same under the distribution they were sampled from.
        mask: bool [..., T], the response tokens.
        cap: largest weight, above 0.
        level: "token", or "sequence" for one weight per sequence.
        segment_ids: int [..., T]; if rows have several sequences, each run of equal ids is one. None: one per row.

    Returns:
        [..., T] float32, 0 outside the mask.

    Raises:
        ValueError: unknown level, the mask is not bool, the shapes do not agree, or `cap` is not above 0.

    Example:
        >>> old, rollout, mask = jnp.array([[-1.0, -1.0]]), jnp.array([[-1.0, -3.0]]), jnp.ones((1, 2), bool)
        >>> truncated_importance_weights(old, rollout, mask).tolist()
        [[1.0, 2.0]]
    """
    check_numbers("above 0, such as 2: it is the largest weight", lambda x: x > 0, cap=cap)
    return jnp.minimum(_weights(old_log_probs, rollout_log_probs, mask, level, segment_ids), cap)


def banded_importance_weights(
    old_log_probs: Float[Array, "... T"],
    rollout_log_probs: Float[Array, "... T"],
    mask: Bool[Array, "... T"],
    *,
    low: float,
    high: float,
    level: Level = "token",
    segment_ids: Int[Array, "... T"] | None = None,
) -> Float[Array, "... T"]:
    """`w` where `low <= w <= high`, else 0: a token whose two probabilities disagree that much teaches nothing.

    Ling team, "Every Step Evolves" (IcePop; 0.5 and 5 there), https://arxiv.org/abs/2510.18855.

    Args:
        old_log_probs: [..., T] log-probabilities (nats) of the sampled tokens under the trainer's policy.
        rollout_log_probs: [..., T] the same under the distribution they were sampled from.
        mask: bool [..., T], the response tokens.
        low: smallest weight to keep, in [0, 1].
        high: largest weight to keep, at least 1.
        level: "token", or "sequence" for one weight per sequence.
        segment_ids: int [..., T]; if rows have several sequences, each run of equal ids is one. None: one per row.

    Returns:
        [..., T] float32, 0 outside the mask and outside the band.

    Raises:
        ValueError: unknown level, the mask is not bool, the shapes do not agree, or 1 is not in the band.

    Example:
        >>> old, rollout, mask = jnp.array([[-1.0, -1.0]]), jnp.array([[-1.0, -3.0]]), jnp.ones((1, 2), bool)
        >>> banded_importance_weights(old, rollout, mask, low=0.5, high=5.0).tolist()
        [[1.0, 0.0]]
    """
    check_not_negative(low=low)
    check_bounds(low, high, around=1.0, remedy="1 is the weight of a token on which trainer and sampler agree")
    weights = _weights(old_log_probs, rollout_log_probs, mask, level, segment_ids)
    return jnp.where((weights < low) | (weights > high), 0.0, weights)


def sequence_rejection_mask(
    old_log_probs: Float[Array, "... T"],
    rollout_log_probs: Float[Array, "... T"],
    mask: Bool[Array, "... T"],
    *,
    statistic: Literal["mean_k1", "mean_k3"] = "mean_k3",
    low: float,
    high: float,
    segment_ids: Int[Array, "... T"] | None = None,
) -> Bool[Array, "... T"]:
    """The mask without the sequences whose mean divergence KL(rollout || old) per token leaves `[low, high]`.

    `mean_k1` is the negative logarithm of the sequence's geometric-mean weight, so both bounds apply: to keep weights
    (trainer over sampler) in [a, b], pass `low = -log b` and `high = -log a`. `mean_k3` is never negative. They are the
    means of `kl_k1` and `k3_statistic`: a single token can be bad enough to reject a sequence of any length.

    Liu et al., "When Speed Kills Stability" (geometric masking), https://yingru.notion.site.

    Args:
        old_log_probs: [..., T] log-probabilities (nats) of the sampled tokens under the trainer's policy.
        rollout_log_probs: [..., T] the same under the distribution they were sampled from.
        mask: bool [..., T], the response tokens.
        statistic: "mean_k1" or "mean_k3".
        low: smallest mean to keep, in nats per token; at most 0.
        high: largest mean to keep, in nats per token; at least 0.
        segment_ids: int [..., T]; if rows have several sequences, each run of equal ids is one. None: one per row.

    Returns:
        bool [..., T], at most `mask`. A sequence whose mean is NaN is rejected.

    Raises:
        ValueError: unknown statistic, the mask is not bool, the shapes do not agree, or the bounds do not
            include 0, the mean if trainer and sampler agree.

    Example:
        >>> old, rollout = jnp.array([[-1.0, -1.0], [-1.0, -1.0]]), jnp.array([[-1.0, -1.0], [-1.0, -3.0]])
        >>> sequence_rejection_mask(old, rollout, jnp.ones((2, 2), bool), low=0.0, high=0.1).tolist()
        [[True, True], [False, False]]
    """
    _check(old_log_probs, rollout_log_probs, mask, segment_ids)
    remedy = "0 is the mean, in nats per token, if trainer and sampler agree"
    match statistic:
        case "mean_k1":
            divergence = kl_k1(rollout_log_probs, old_log_probs)
            remedy += "; for weights from a to b pass low=-log(b), high=-log(a)"
        case "mean_k3":
            divergence = k3_statistic(rollout_log_probs, old_log_probs)
        case _:
            raise ValueError(f'statistic={statistic!r} is neither "mean_k1" nor "mean_k3"')
    check_bounds(low, high, around=0.0, remedy=remedy)
    mean = sequence_means(divergence, mask, segment_ids)
    return mask & (mean >= low) & (mean <= high)


class CorrectionSums(NamedTuple):
    """Sums over a part of a batch; those of two parts add up (`jax.tree.map(jnp.add, a, b)`) to those of both.

    A unit is a token or, at level "sequence", a sequence; `weight` is its w without bounds, `applied` the
    weight that multiplies its loss.
    """

    num_units: Float[Array, ""]
    out_of_band: Float[Array, ""]
    weight: Float[Array, ""]
    weight_squared: Float[Array, ""]
    applied: Float[Array, ""]
    applied_squared: Float[Array, ""]
    num_tokens: Float[Array, ""]
    kl: Float[Array, ""]
    k3_kl: Float[Array, ""]


def correction_sums(
    old_log_probs: Float[Array, "... T"],
    rollout_log_probs: Float[Array, "... T"],
    mask: Bool[Array, "... T"],
    *,
    applied: Float[Array, "... T"] | None = None,
    low: float = 0.0,
    high: float = 2.0,
    level: Level = "token",
    segment_ids: Int[Array, "... T"] | None = None,
) -> CorrectionSums:
    """What `correction_metrics` needs of one micro-batch.

    Args:
        old_log_probs: [..., T] log-probabilities (nats) of the sampled tokens under the trainer's policy.
        rollout_log_probs: [..., T] the same under the distribution they were sampled from.
        mask: bool [..., T], the response tokens.
        applied: [..., T] the weights that multiply the losses: after the bounds, and 0 for tokens of rejected
            sequences. None: w without bounds.
        low: weights below it count as out of band.
        high: weights above it count as out of band; for truncation the cap.
        level: "token", or "sequence" for one weight per sequence.
        segment_ids: int [..., T]; if rows have several sequences, each run of equal ids is one. None: one per row.

    Returns:
        Nine float32 scalars.

    Raises:
        ValueError: unknown level, the mask is not bool, the shapes do not agree, or `low` and `high` are negative or in
            the wrong order.

    Example:
        >>> old, rollout, mask = jnp.array([[-1.0, -1.0]]), jnp.array([[-1.0, -3.0]]), jnp.ones((1, 2), bool)
        >>> correction_sums(old, rollout, mask).out_of_band.item()
        1.0
    """
    check_not_negative(low=low, high=high)
    check_bounds(low, high)
    weights = _weights(old_log_probs, rollout_log_probs, mask, level, segment_ids)
    applied = weights if applied is None else applied
    check_same_shape(mask=mask, applied=applied)
    token = jnp.ones_like(weights)
    # A sequence's weight stands on each of its tokens, so each of them is that fraction of a unit.
    unit = token if level == "token" else token / jnp.maximum(sequence_sums(token, mask, segment_ids), 1.0)
    summands = (
        unit,
        jnp.where((weights < low) | (weights > high), unit, 0.0),
        unit * weights,
        unit * weights**2,
        unit * applied.astype(jnp.float32),
        unit * applied.astype(jnp.float32) ** 2,
        token,
        kl_k1(rollout_log_probs, old_log_probs),
        k3_statistic(rollout_log_probs, old_log_probs),
    )
    return CorrectionSums(*jax.lax.stop_gradient([masked_sum(x, mask) for x in summands]))


def correction_metrics(sums: CorrectionSums) -> dict[str, Float[Array, ""]]:
    """Diagnostics of a batch from its `correction_sums`, added up over micro-batches; 0 for a batch of no tokens.

    | name | formula | without mismatch |
    |---|---|---|
    | effective_sample_size | `(sum a)^2 / (n sum a^2)`, Kish's, as a fraction, with a the applied weight | 1 |
    | out_of_band_fraction | fraction of units with w outside `[low, high]` | 0 |
    | mean_weight | `mean w` | 1 |
    | chi2 | `mean w^2 - 1`, estimates the chi-squared divergence of old from rollout | 0 |
    | kl | mean k1 per token of KL(rollout, old), nats | 0 |
    | k3_kl | mean k3 per token of the same | 0 |

    Effective sample size: see Elvira et al., https://arxiv.org/abs/1809.04129.

    Args:
        sums: of the whole batch.

    Returns:
        Scalar float32 by name.

    Example:
        >>> old, rollout, mask = jnp.array([[-1.0, -1.0]]), jnp.array([[-1.0, -3.0]]), jnp.ones((1, 2), bool)
        >>> metrics = correction_metrics(correction_sums(old, rollout, mask))
        >>> round(metrics["effective_sample_size"].item(), 3), metrics["kl"].item()
        (0.633, -1.0)
    """
    units, tokens = jnp.maximum(sums.num_units, 1.0), jnp.maximum(sums.num_tokens, 1.0)
    squared = jnp.where(sums.applied_squared > 0, sums.applied_squared, 1.0)
    return {
        "effective_sample_size": sums.applied**2 / (units * squared),
        "out_of_band_fraction": sums.out_of_band / units,
        "mean_weight": sums.weight / units,
        "chi2": (sums.weight_squared - sums.num_units) / units,
        "kl": sums.kl / tokens,
        "k3_kl": sums.k3_kl / tokens,
    }


def _weights(
    old_log_probs: Array, rollout_log_probs: Array, mask: Array, level: str, segment_ids: Array | None
) -> Array:
    """`w` of each token, or of its sequence, before any bound; 0 outside the mask."""
    _check(old_log_probs, rollout_log_probs, mask, segment_ids)
    log_weights = jax.lax.stop_gradient(old_log_probs.astype(jnp.float32) - rollout_log_probs.astype(jnp.float32))
    match level:
        case "token":
            pass
        case "sequence":
            log_weights = sequence_sums(log_weights, mask, segment_ids)
        case _:
            raise ValueError(f'level={level!r} is neither "token" nor "sequence"')
    return jnp.where(mask, jnp.exp(jnp.clip(log_weights, -MAX_LOG_WEIGHT, MAX_LOG_WEIGHT)), 0.0)


def _check(old_log_probs: Array, rollout_log_probs: Array, mask: Array, segment_ids: Array | None) -> None:
    check_mask(mask)
    check_same_shape(old_log_probs=old_log_probs, rollout_log_probs=rollout_log_probs, mask=mask)
    check_segment_ids(segment_ids, mask)
