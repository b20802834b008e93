# SPDX-License-Identifier: Apache-2.0
"""From rewards to the advantages of response tokens: one call that selects from `ntl_jax.losses` by the settings."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.config import AlgorithmSection
from ntl_jax.losses import (
    gae,
    gdpo_advantages,
    group_advantages,
    leave_one_out_advantages,
    optimal_baseline_advantages,
    reinforce_plus_plus_advantages,
    remax_advantages,
    whiten,
)
from ntl_jax.records import AnyArray, Trajectory, Values


class Rewards(NamedTuple):
    """What the samples of an iteration earned.

    Args:
        scores: reward of each sample, penalties included; credited to its last token.
        groups: one id per draw of a prompt; samples of one draw share an id.
        lengths: response tokens of each sample.
        valid: samples that have a reward, masked or not; others are excluded from their group's mean.
        greedy: reward of the greedy response to each sample's prompt, for remax.
        several: the rewards of each sample by ``gdpo_reward_keys``, for gdpo.
    """

    scores: Float[AnyArray, "B"]
    groups: Int[AnyArray, "B"]
    lengths: Int[AnyArray, "B"]
    valid: Bool[AnyArray, "B"]
    greedy: Float[AnyArray, "B"] | None = None
    several: Float[AnyArray, "B K"] | None = None


def token_rewards(rewards: Rewards, size: int) -> Float[Array, "B T"]:
    """The reward of each of ``size`` response tokens: the sample's reward at its last token, 0 elsewhere.

    Example:
        >>> rewards = Rewards(np.array([3.0]), np.array([0]), np.array([2]), np.array([True]))
        >>> token_rewards(rewards, 4).tolist()
        [[0.0, 3.0, 0.0, 0.0]]
    """
    is_last = jnp.arange(size)[None, :] == jnp.asarray(rewards.lengths)[:, None] - 1
    return jnp.where(is_last, jnp.asarray(rewards.scores, jnp.float32)[:, None], 0.0)


def credit(
    algorithm: AlgorithmSection,
    rewards: Rewards,
    per_token: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
    old_values: Float[Array, "B T"] | None = None,
) -> tuple[Float[Array, "B T"], Values | None]:
    """The advantage of each token, 0 outside the mask; for gae, whitened advantages and the critic's returns.

    Args:
        algorithm: its ``advantage`` and related settings; static under jit.
        rewards: the samples' rewards.
        per_token: reward of each token: `token_rewards`, minus any KL penalty.
        mask: tokens that count.
        old_values: the critic's values, for gae.

    Example: two samples of one prompt; the first is right
        >>> rewards = Rewards(np.array([1.0, 0.0]), np.zeros(2, int), np.array([1, 1]), np.ones(2, bool))
        >>> per_token, mask = token_rewards(rewards, 1), jnp.ones((2, 1), bool)
        >>> credit(AlgorithmSection(normalize_groups=False), rewards, per_token, mask)[0].tolist()
        [[0.5], [-0.5]]
    """
    groups, valid = jnp.asarray(rewards.groups), jnp.asarray(rewards.valid)
    match algorithm.advantage:
        case "gae":
            assert old_values is not None
            advantages, returns = gae(per_token, old_values, mask, gamma=algorithm.gamma, lam=algorithm.lam)
            return whiten(advantages, mask), Values(old_values, returns)
        case "reinforce_plus_plus":
            return reinforce_plus_plus_advantages(per_token, mask, gamma=algorithm.gamma), None
        case "reinforce_plus_plus_baseline":
            return reinforce_plus_plus_advantages(per_token, mask, group_ids=groups, where=valid), None
        case "remax":
            assert rewards.greedy is not None
            return remax_advantages(per_token, jnp.asarray(rewards.greedy), mask), None
        case "leave_one_out":
            by_row = leave_one_out_advantages(per_token.sum(axis=1), groups, where=valid)
        case "optimal_baseline":
            lengths = jnp.asarray(rewards.lengths)
            by_row = optimal_baseline_advantages(per_token.sum(axis=1), groups, lengths, where=valid)
        case "gdpo":
            assert rewards.several is not None
            weights = jnp.array(algorithm.gdpo_reward_weights or [1.0] * len(algorithm.gdpo_reward_keys), jnp.float32)
            by_row = gdpo_advantages(jnp.asarray(rewards.several), groups, where=valid, weights=weights)
        case "group":
            normalize = algorithm.normalize_groups
            by_row = group_advantages(per_token.sum(axis=1), groups, where=valid, normalize=normalize)
    return jnp.where(mask, by_row[:, None], 0.0), None


def overlong_penalties(
    algorithm: AlgorithmSection, trajectories: Sequence[Trajectory], max_tokens: int
) -> Float[np.ndarray, "B"]:
    """Added to rewards for length: 0 up to ``max_tokens - overlong_buffer``, then falling; 0 unless configured.

    `-overlong_penalty * (length - (max_tokens - buffer)) / buffer`: Yu et al., "DAPO", eq. 13,
    https://arxiv.org/abs/2503.14476.

    Example:
        >>> sampled = [Trajectory(0, 0, np.zeros(1), np.zeros(n), np.zeros(n), None, "stop", ()) for n in (6, 8, 10)]
        >>> section = AlgorithmSection(overlong="penalty", overlong_buffer=4, overlong_penalty=0.5)
        >>> overlong_penalties(section, sampled, max_tokens=10).tolist()
        [0.0, -0.25, -0.5]
    """
    lengths = np.array([len(t.response_ids) for t in trajectories])
    if algorithm.overlong != "penalty":
        return np.zeros(len(lengths), np.float32)
    excess = np.maximum(lengths - (max_tokens - algorithm.overlong_buffer), 0) / algorithm.overlong_buffer
    return (0.0 - algorithm.overlong_penalty * excess).astype(np.float32)
