# SPDX-License-Identifier: Apache-2.0
"""Advantages: per token from a critic, per row from the other samples of the same prompt.

Arithmetic is float32 throughout: fractional rewards stay fractional. Rows outside `where` and tokens outside `mask`
change nothing and get 0, whatever they hold. A group of one has no one to be compared with and keeps its score.

Deviations: scores are taken relative to the best of their group before the mean, which leaves every formula as it is
and makes a group of equal scores exactly 0: the rounding of a mean, divided by a standard deviation that is itself
rounding, would otherwise give advantages of up to 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.per_token import check_shapes
from ntl_jax.ops.masked import check_mask, masked_sum, masked_whiten


def gae(
    rewards: Float[Array, "... T"],
    values: Float[Array, "... T"],
    mask: Bool[Array, "... T"],
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
) -> tuple[Float[Array, "... T"], Float[Array, "... T"]]:
    """Generalised advantage estimation over the masked tokens of each row, as if the others did not exist.

    `delta_t = R_t + gamma V_{t+1} - V_t`, `A_t = delta_t + gamma lam A_{t+1}`, `returns = A + V`, where t + 1 is the
    next masked token and the value after the last is 0. Whiten the advantages afterwards (`whiten`).

    Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation", eq. 16,
    https://arxiv.org/abs/1506.02438.

    Args:
        rewards: [..., T] reward of each token; one outside the mask is dropped.
        values: [..., T] the critic's estimate before each token, in units of reward.
        mask: bool [..., T], the response tokens, with gaps where others (tool output) stand between them.
        gamma: discount per masked token.
        lam: 1 is the return minus the value, 0 the one-step error.

    Returns:
        Advantages and returns, each [..., T] float32, 0 outside the mask.

    Raises:
        ValueError: the mask is not bool, or the shapes do not agree.

    Example:
        >>> rewards, values = jnp.array([[0.0, 9.0, 1.0]]), jnp.array([[0.5, 9.0, 0.25]])
        >>> advantages, returns = gae(rewards, values, jnp.array([[True, False, True]]), lam=0.5)
        >>> advantages.tolist(), returns.tolist()
        ([[0.125, 0.0, 0.75]], [[0.625, 0.0, 1.0]])
    """
    check_mask(mask)
    check_shapes(rewards=rewards, values=values, mask=mask)
    rewards, values = (jnp.where(mask, x.astype(jnp.float32), 0.0) for x in (rewards, values))

    def step(later: tuple[Array, Array], token: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        next_value, next_advantage = later
        reward, value, counts = token
        advantage = reward + gamma * next_value - value + gamma * lam * next_advantage
        here = jnp.where(counts, value, next_value), jnp.where(counts, advantage, next_advantage)
        return here, here[1]

    by_token = tuple(jnp.moveaxis(x, -1, 0) for x in (rewards, values, mask))
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

    A group of one has mean 0 and std 1.

    Shao et al., "DeepSeekMath" (GRPO), https://arxiv.org/abs/2402.03300; without the division: Liu et al.,
    "Understanding R1-Zero-Like Training" (Dr. GRPO), https://arxiv.org/abs/2503.20783.

    Args:
        scores: [B] reward of each sample.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt.
        where: bool [B], the samples that count; the others (no valid score) leave their group's mean. None: all.
        normalize: divide by the standard deviation.
        epsilon: added to it, in units of reward.

    Returns:
        [B] float32, 0 outside `where`.

    Raises:
        ValueError: `where` is not bool, `group_ids` are not ints, or the shapes are not [B].

    Example:
        >>> group_advantages(jnp.array([1.0, 0.5, 0.0, 7.0]), jnp.array([3, 3, 3, -1])).round(4).tolist()
        [1.0, 0.0, -1.0, 7.0]
    """
    deviations, counts, together = _deviations(scores, group_ids, where)
    if not normalize:
        return deviations
    variance = _group_sums(deviations**2, together) / jnp.maximum(counts - 1.0, 1.0)
    return deviations / jnp.where(counts > 1, jnp.sqrt(variance) + epsilon, 1.0 + epsilon)


def leave_one_out_advantages(
    scores: Float[Array, " B"], group_ids: Int[Array, " B"], *, where: Bool[Array, " B"] | None = None
) -> Float[Array, " B"]:
    """Score minus the mean of the prompt's other samples, `n / (n - 1) (R - mean_G)`; a group of one keeps R.

    Ahmadian et al., "Back to Basics" (RLOO), https://arxiv.org/abs/2402.14740.

    Args:
        scores: [B] reward of each sample.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt.
        where: bool [B], the samples that count. None: all.

    Returns:
        [B] float32, 0 outside `where`.

    Raises:
        ValueError: `where` is not bool, `group_ids` are not ints, or the shapes are not [B].

    Example:
        >>> leave_one_out_advantages(jnp.array([1.0, 0.0, 0.5]), jnp.array([4, 4, 2])).tolist()
        [1.0, -1.0, 0.5]
    """
    deviations, counts, _ = _deviations(scores, group_ids, where)
    return deviations * jnp.where(counts > 1, counts / jnp.maximum(counts - 1.0, 1.0), 1.0)


def optimal_baseline_advantages(
    scores: Float[Array, " B"],
    group_ids: Int[Array, " B"],
    lengths: Int[Array, " B"],
    *,
    where: Bool[Array, " B"] | None = None,
) -> Float[Array, " B"]:
    """Score minus the prompt's length-weighted mean, `R - sum_G(len R) / sum_G(len)`; a group of one keeps R.

    The baseline of least variance where a sample's gradient grows with its length: Hao et al., "On-Policy RL with
    Optimal Reward Baseline" (OPO), https://arxiv.org/abs/2505.23585.

    Args:
        scores: [B] reward of each sample.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt.
        lengths: [B] response tokens of each sample.
        where: bool [B], the samples that count. None: all.

    Returns:
        [B] float32, 0 outside `where`.

    Raises:
        ValueError: `where` is not bool, `group_ids` are not ints, or the shapes are not [B].

    Example:
        >>> optimal_baseline_advantages(jnp.array([1.0, 0.0]), jnp.array([4, 4]), jnp.array([1, 3])).tolist()
        [0.75, -0.25]
    """
    return _deviations(scores, group_ids, where, lengths)[0]


def reinforce_plus_plus_advantages(
    rewards: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
    *,
    group_ids: Int[Array, " B"] | None = None,
    gamma: float = 1.0,
) -> Float[Array, "B T"]:
    """Discounted return of each token, whitened over the batch; with groups the row's score minus its group's mean.

    `whiten(sum_{k >= t} gamma^{k-t} R_k)`, and with `group_ids` `whiten(R - mean_G)` with R the row's total.

    Hu et al., "REINFORCE++", https://arxiv.org/abs/2501.03262 (the second form is its REINFORCE++-baseline).

    Args:
        rewards: [B, T] reward of each token; one outside the mask is dropped.
        mask: bool [B, T], the response tokens; an empty row is in no group.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt. None: no group baseline.
        gamma: discount per masked token, of the form without groups.

    Returns:
        [B, T] float32, 0 outside the mask.

    Raises:
        ValueError: the mask is not bool, or the shapes do not agree.

    Example:
        >>> rewards, mask = jnp.array([[0.0, 1.0], [0.0, -1.0]]), jnp.ones((2, 2), bool)
        >>> reinforce_plus_plus_advantages(rewards, mask).round(3).tolist()
        [[0.866..., 0.866...], [-0.866..., -0.866...]]
    """
    returns = _returns_to_go(rewards, mask, gamma)
    if group_ids is not None:
        deviations = _deviations(masked_sum(rewards, mask, axis=-1), group_ids, jnp.any(mask, axis=-1))[0]
        returns = jnp.broadcast_to(deviations[:, None], mask.shape)
    return masked_whiten(returns, mask)


def remax_advantages(
    rewards: Float[Array, "B T"], greedy_scores: Float[Array, " B"], mask: Bool[Array, "B T"]
) -> Float[Array, "B T"]:
    """Reward still to come minus the score of the prompt's greedy sample.

    Li et al., "ReMax", https://arxiv.org/abs/2310.10505.

    Args:
        rewards: [B, T] reward of each token; one outside the mask is dropped.
        greedy_scores: [B] reward of the greedy response to the same prompt.
        mask: bool [B, T], the response tokens.

    Returns:
        [B, T] float32, 0 outside the mask.

    Raises:
        ValueError: the mask is not bool, or the shapes do not agree.

    Example:
        >>> remax_advantages(jnp.array([[0.0, 1.0]]), jnp.array([0.25]), jnp.ones((1, 2), bool)).tolist()
        [[0.75, 0.75]]
    """
    baseline = jnp.expand_dims(greedy_scores.astype(jnp.float32), axis=-1)
    check_shapes(rewards=rewards, greedy_scores=baseline)
    return jnp.where(mask, _returns_to_go(rewards, mask, 1.0) - baseline, 0.0)


def _returns_to_go(rewards: Array, mask: Array, gamma: float) -> Array:
    """Discounted sum of the rewards from each token on: the advantage over a critic that says 0."""
    return gae(rewards, jnp.zeros_like(rewards), mask, gamma=gamma)[0]


def _deviations(
    scores: Array, group_ids: Array, where: Array | None, weights: Array | None = None
) -> tuple[Array, Array, Array]:
    """Scores minus their group's (weighted) mean, the sizes of the groups, and [B, B] who counts for whom."""
    where = jnp.ones(scores.shape, bool) if where is None else where
    weights = jnp.ones(scores.shape, jnp.float32) if weights is None else weights.astype(jnp.float32)
    check_mask(where, "where")
    if not jnp.issubdtype(group_ids.dtype, jnp.integer):
        raise ValueError(f"group_ids are {group_ids.dtype}: pass ints, equal where the prompt is the same")
    if scores.ndim != 1 or not scores.shape == group_ids.shape == where.shape == weights.shape:
        raise ValueError(
            f"scores {scores.shape}, group_ids {group_ids.shape}, where {where.shape} and lengths {weights.shape} "
            "must all be [B]: one number per sample (sum token rewards over the response first)"
        )
    scores = jnp.where(where, scores.astype(jnp.float32), 0.0)
    together = (group_ids[:, None] == group_ids[None, :]) & where[None, :] & where[:, None]
    counts = _group_sums(jnp.ones_like(scores), together)
    best = jnp.max(jnp.where(together, scores[None, :], -jnp.inf), axis=1, initial=-jnp.inf)
    relative = jnp.where(where, scores - best, 0.0)
    mean = _group_sums(weights * relative, together) / jnp.maximum(_group_sums(weights, together), 1.0)
    return jnp.where(counts > 1, relative - mean, scores), counts, together


def _group_sums(x: Array, together: Array) -> Array:
    """For each row the sum over its group. No matrix product: on TPU that would round the scores to bfloat16."""
    return jnp.sum(jnp.where(together, x[None, :], 0.0), axis=1)
