# SPDX-License-Identifier: Apache-2.0
"""Advantages: per token from a critic, per row from the other samples of the same prompt.

Arithmetic is float32 throughout: fractional rewards stay fractional. Rows outside `where` and tokens outside `mask`
change nothing and get 0, whatever their values. A group of one sample has no baseline and keeps its score. In a larger
group, a single valid score gets 0, since its baseline is undefined.

Deviations: scores are taken relative to the best of their group before the mean, which leaves every formula as it is
and makes a group of equal scores exactly 0: the rounding of a mean, divided by a standard deviation that is itself
rounding, would otherwise give advantages of up to 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.groups import deviations, scored_groups
from ntl_jax.losses.per_token import sequence_ends
from ntl_jax.ops.arguments import (
    check_arrays,
    check_fraction,
    check_mask,
    check_not_negative,
    check_same_shape,
    check_segment_ids,
)
from ntl_jax.ops.masked import masked_sum, masked_whiten


def gae(
    rewards: Float[Array, "... T"],
    values: Float[Array, "... T"],
    mask: Bool[Array, "... T"],
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    segment_ids: Int[Array, "... T"] | None = None,
) -> tuple[Float[Array, "... T"], Float[Array, "... T"]]:
    """Generalized advantage estimation over the masked tokens of each sequence; other tokens are skipped.

    `delta_t = R_t + gamma V_{t+1} - V_t`, `A_t = delta_t + gamma lam A_{t+1}`, `returns = A + V`, where t + 1 is the
    next masked token of the sequence and the value after its last is 0. Whiten the advantages afterwards (`whiten`).

    Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation", eq. 16,
    https://arxiv.org/abs/1506.02438.

    Args:
        rewards: [..., T] reward of each token; one outside the mask is dropped.
        values: [..., T] the critic's estimate before each token, in units of reward.
        mask: bool [..., T], the response tokens, with gaps where others (tool output) stand between them.
        gamma: discount per masked token.
        lam: 1 is the return minus the value, 0 the one-step error.
        segment_ids: int [..., T]; if rows have several sequences, each run of equal ids is one. None: one per row.

    Returns:
        Advantages and returns, each [..., T] float32, 0 outside the mask.

    Raises:
        ValueError: the mask is not bool, the shapes do not agree, or `gamma` or `lam` lies outside [0, 1].

    Example:
        >>> rewards, values = jnp.array([[0.0, 9.0, 1.0]]), jnp.array([[0.5, 9.0, 0.25]])
        >>> advantages, returns = gae(rewards, values, jnp.array([[True, False, True]]), lam=0.5)
        >>> advantages.tolist(), returns.tolist()
        ([[0.125, 0.0, 0.75]], [[0.625, 0.0, 1.0]])
    """
    check_mask(mask)
    check_same_shape(rewards=rewards, values=values, mask=mask)
    check_segment_ids(segment_ids, mask)
    check_fraction(gamma=gamma, lam=lam)
    rewards, values = (jnp.where(mask, x.astype(jnp.float32), 0.0) for x in (rewards, values))

    def step(later: tuple[Array, Array], token: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        reward, value, counts, is_last = token
        next_value, next_advantage = (jnp.where(is_last, 0.0, x) for x in later)
        advantage = reward + gamma * next_value - value + gamma * lam * next_advantage
        here = jnp.where(counts, value, next_value), jnp.where(counts, advantage, next_advantage)
        return here, here[1]

    by_token = tuple(jnp.moveaxis(x, -1, 0) for x in (rewards, values, mask, sequence_ends(mask, segment_ids)))
    after_the_last = jnp.zeros_like(by_token[0][0])
    _, advantages = jax.lax.scan(step, (after_the_last, after_the_last), by_token, reverse=True)
    advantages = jnp.where(mask, jnp.moveaxis(advantages, 0, -1), 0.0)
    return advantages, advantages + values


def group_advantages(
    scores: Float[Array, " B"],
    group_ids: Int[Array, " B"],
    *,
    where: Bool[Array, " B"] | None = None,
    normalize: bool = True,
    epsilon: float = 1e-6,
) -> Float[Array, " B"]:
    """Score against the other samples of the prompt, `(R - mean_G) / (std_G + epsilon)`, std unbiased.

    A group of one has mean 0 and std 1. In a larger group, a single valid sample has no baseline and gets 0.

    Shao et al., "DeepSeekMath" (GRPO), https://arxiv.org/abs/2402.03300; without the division: Liu et al.,
    "Understanding R1-Zero-Like Training" (Dr. GRPO), https://arxiv.org/abs/2503.20783.

    Args:
        scores: [B] reward of each sample.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt.
        where: bool [B], samples with a valid score; others are excluded from their group's mean. None: all.
        normalize: divide by the standard deviation.
        epsilon: added to it, in units of reward; at least 0.

    Returns:
        [B] float32, 0 outside `where`.

    Raises:
        ValueError: `where` is not bool, `group_ids` are not ints, the shapes are not [B], or `epsilon` is negative.

    Example:
        >>> group_advantages(jnp.array([1.0, 0.5, 0.0, 7.0]), jnp.array([3, 3, 3, -1])).round(4).tolist()
        [1.0, 0.0, -1.0, 7.0]
    """
    check_not_negative(epsilon=epsilon)
    scores, groups = scored_groups(scores, group_ids, where)
    centered = deviations(scores, groups)
    if not normalize:
        return centered
    variance = groups.sums(centered**2) / jnp.maximum(groups.num_counted - 1.0, 1.0)
    scale = jnp.where(groups.num_counted > 1, jnp.sqrt(variance), 1.0) + epsilon
    return centered / jnp.where(scale > 0, scale, 1.0)


def leave_one_out_advantages(
    scores: Float[Array, " B"], group_ids: Int[Array, " B"], *, where: Bool[Array, " B"] | None = None
) -> Float[Array, " B"]:
    """Score minus the mean of the prompt's other samples, `n / (n - 1) (R - mean_G)`; a group of one keeps R.

    In a larger group, a single valid sample has no baseline and gets 0.

    Ahmadian et al., "Back to Basics" (RLOO), https://arxiv.org/abs/2402.14740.

    Args:
        scores: [B] reward of each sample.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt.
        where: bool [B], the samples with a valid score. None: all.

    Returns:
        [B] float32, 0 outside `where`.

    Raises:
        ValueError: `where` is not bool, `group_ids` are not ints, or the shapes are not [B].

    Example:
        >>> leave_one_out_advantages(jnp.array([1.0, 0.0, 0.5]), jnp.array([4, 4, 2])).tolist()
        [1.0, -1.0, 0.5]
    """
    scores, groups = scored_groups(scores, group_ids, where)
    n = groups.num_counted
    return deviations(scores, groups) * jnp.where(n > 1, n / jnp.maximum(n - 1.0, 1.0), 1.0)


def optimal_baseline_advantages(
    scores: Float[Array, " B"],
    group_ids: Int[Array, " B"],
    lengths: Int[Array, " B"],
    *,
    where: Bool[Array, " B"] | None = None,
) -> Float[Array, " B"]:
    """Score minus the prompt's length-weighted mean, `R - sum_G(len R) / sum_G(len)`; a group of one keeps R.

    In a larger group, a single valid sample has no baseline and gets 0.

    The baseline of least variance where a sample's gradient grows with its length: Hao et al., "On-Policy RL with
    Optimal Reward Baseline" (OPO), https://arxiv.org/abs/2505.23585.

    Args:
        scores: [B] reward of each sample.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt.
        lengths: [B] response tokens of each sample.
        where: bool [B], the samples with a valid score. None: all.

    Returns:
        [B] float32, 0 outside `where`.

    Raises:
        ValueError: `where` is not bool, `group_ids` are not ints, or the shapes are not [B].

    Example:
        >>> optimal_baseline_advantages(jnp.array([1.0, 0.0]), jnp.array([4, 4]), jnp.array([1, 3])).tolist()
        [0.75, -0.25]
    """
    scores, groups = scored_groups(scores, group_ids, where, lengths=lengths)
    return deviations(scores, groups, lengths.astype(jnp.float32))


def reinforce_plus_plus_advantages(
    rewards: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
    *,
    group_ids: Int[Array, " B"] | None = None,
    where: Bool[Array, " B"] | None = None,
    gamma: float = 1.0,
    segment_ids: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T"]:
    """Discounted return of each token, whitened over the batch; with groups the row's score minus its group's mean.

    `whiten(sum_{k >= t} gamma^{k-t} R_k)`, and with `group_ids` `whiten(R - mean_G)` with R the row's total. A fully
    masked row (truncated or rejected) is included in its group's mean with all of its rewards; use `where` to exclude
    padding rows. In a group of several samples, a single valid score gets 0 and is left out of the whitening.

    Hu et al., "REINFORCE++", https://arxiv.org/abs/2501.03262 (the second form is its REINFORCE++-baseline).

    Args:
        rewards: [B, T] reward of each token; one outside the mask is dropped.
        mask: bool [B, T], the response tokens to train on.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt. None: no group baseline.
        where: bool [B], samples with a valid score; others get 0 and are excluded from the mean. None: all.
        gamma: discount per masked token; only without groups.
        segment_ids: int [B, T], only without groups; if rows have several sequences, each run of equal ids is one.
            None: a row is one.

    Returns:
        [B, T] float32, 0 outside the mask.

    Raises:
        ValueError: a mask is not bool, the shapes do not agree, `gamma` lies outside [0, 1], or both `group_ids` and
            `segment_ids` are given.

    Example:
        >>> rewards, mask = jnp.array([[0.0, 1.0], [0.0, -1.0]]), jnp.ones((2, 2), bool)
        >>> reinforce_plus_plus_advantages(rewards, mask).round(3).tolist()
        [[0.866..., 0.866...], [-0.866..., -0.866...]]
    """
    returns = _returns_to_go(rewards, mask, gamma, segment_ids)
    where = jnp.ones(mask.shape[:1], bool) if where is None else where
    check_mask(where, "where")
    if where.shape != mask.shape[:1]:
        raise ValueError(f"where {where.shape} must be {mask.shape[:1]}, one entry per row of the mask {mask.shape}")
    counted = mask & where[:, None]
    if group_ids is None:
        return masked_whiten(returns, counted)
    if segment_ids is not None:
        raise ValueError(
            "group_ids have one entry per row, but segment_ids split rows into several samples: pass unpacked rows"
        )
    # A row with an empty mask is not trained on, but its reward still belongs in the mean of its group.
    earned = mask | ~jnp.any(mask, axis=-1, keepdims=True)
    scores, groups = scored_groups(masked_sum(rewards, earned, axis=-1), group_ids, where)
    returns = jnp.broadcast_to(deviations(scores, groups)[:, None], mask.shape)
    return masked_whiten(returns, counted & groups.has_baseline[:, None])


def remax_advantages(
    rewards: Float[Array, "B T"],
    greedy_scores: Float[Array, " B"],
    mask: Bool[Array, "B T"],
    *,
    segment_ids: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T"]:
    """Reward still to come minus the score of the prompt's greedy sample.

    Li et al., "ReMax", https://arxiv.org/abs/2310.10505.

    Args:
        rewards: [B, T] reward of each token; one outside the mask is dropped.
        greedy_scores: [B] reward of the greedy response to the same prompt; with `segment_ids` [B, T], the same on each
            token of a sequence.
        mask: bool [B, T], the response tokens.
        segment_ids: int [B, T]; if rows have several sequences, each run of equal ids is one. None: one per row.

    Returns:
        [B, T] float32, 0 outside the mask.

    Raises:
        ValueError: the mask is not bool, or the shapes do not agree.

    Example:
        >>> remax_advantages(jnp.array([[0.0, 1.0]]), jnp.array([0.25]), jnp.ones((1, 2), bool)).tolist()
        [[0.75, 0.75]]
    """
    returns = _returns_to_go(rewards, mask, 1.0, segment_ids)
    check_arrays(greedy_scores=greedy_scores)
    expected = mask.shape[:-1] if segment_ids is None else mask.shape
    if greedy_scores.shape != expected:
        raise ValueError(
            f"greedy_scores {greedy_scores.shape} must be {expected} beside the mask {mask.shape}: one per row, "
            "or with segment_ids one per token"
        )
    baseline = greedy_scores.astype(jnp.float32)
    return jnp.where(mask, returns - (baseline[..., None] if segment_ids is None else baseline), 0.0)


def _returns_to_go(rewards: Array, mask: Array, gamma: float, segment_ids: Array | None) -> Array:
    """Discounted sum of the rewards from each token on: the advantage over a critic that says 0."""
    check_arrays(rewards=rewards)
    return gae(rewards, jnp.zeros(rewards.shape), mask, gamma=gamma, segment_ids=segment_ids)[0]
