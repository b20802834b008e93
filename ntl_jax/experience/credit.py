# SPDX-License-Identifier: Apache-2.0
"""From rewards to the advantages of response tokens, by setting: `ntl_jax.losses` behind one call."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ntl_jax.config import AlgorithmSection
from ntl_jax.losses import (
    gae,
    group_advantages,
    leave_one_out_advantages,
    optimal_baseline_advantages,
    reinforce_plus_plus_advantages,
    remax_advantages,
    whiten,
)
from ntl_jax.records import TrainBatch, Trajectory


class Rewards(NamedTuple):
    """What the samples of an iteration earned.

    Args:
        per_token: reward of each response token; that of the reward function stands at the last.
        groups: one id per draw; samples of one draw have equal ids.
        lengths: response tokens of each sample.
        valid: samples that have a reward, masked or not; the others are excluded from the mean of their group.
        greedy: reward of the greedy response to each sample's prompt, for remax.
    """

    per_token: Float[np.ndarray, "B T"]
    groups: Int[np.ndarray, "B"]
    lengths: Int[np.ndarray, "B"]
    valid: Bool[np.ndarray, "B"]
    greedy: Float[np.ndarray, "B"] | None = None


def with_advantages(algorithm: AlgorithmSection, batch: TrainBatch, rewards: Rewards) -> TrainBatch:
    """The batch with advantages, 0 outside its mask; for gae whitened, and with the critic's returns.

    Args:
        algorithm: its ``advantage`` and what belongs to it.
        batch: with ``old_values`` for gae.
        rewards: of its rows.
    """
    per_token, mask = jnp.asarray(rewards.per_token), jnp.asarray(batch.mask)
    match algorithm.advantage:
        case "gae":
            values = jnp.asarray(batch.old_values)
            advantages, returns = gae(per_token, values, mask, gamma=algorithm.gamma, lam=algorithm.lam)
            batch = batch._replace(returns=np.asarray(returns))
            advantages = whiten(advantages, mask)
        case "reinforce_plus_plus":
            advantages = reinforce_plus_plus_advantages(per_token, mask, gamma=algorithm.gamma)
        case "reinforce_plus_plus_baseline":
            groups, valid = jnp.asarray(rewards.groups), jnp.asarray(rewards.valid)
            advantages = reinforce_plus_plus_advantages(per_token, mask, group_ids=groups, where=valid)
        case "remax":
            assert rewards.greedy is not None
            advantages = remax_advantages(per_token, jnp.asarray(rewards.greedy), mask)
        case "group" | "leave_one_out" | "optimal_baseline":
            per_row = np.asarray(_within_groups(algorithm, rewards))
            advantages = np.where(batch.mask, per_row[:, None], 0.0).astype(np.float32)
    return batch._replace(advantages=np.asarray(advantages))


def _within_groups(algorithm: AlgorithmSection, rewards: Rewards):
    """One advantage a response, from the other responses to the same prompt."""
    scores, groups = jnp.asarray(rewards.per_token.sum(axis=1)), jnp.asarray(rewards.groups)
    valid = jnp.asarray(rewards.valid)
    match algorithm.advantage:
        case "leave_one_out":
            return leave_one_out_advantages(scores, groups, where=valid)
        case "optimal_baseline":
            return optimal_baseline_advantages(scores, groups, jnp.asarray(rewards.lengths), where=valid)
    return group_advantages(scores, groups, where=valid, normalize=algorithm.normalize_groups)


def overlong_penalties(
    algorithm: AlgorithmSection, trajectories: Sequence[Trajectory], max_tokens: int
) -> Float[np.ndarray, "B"]:
    """What is added to rewards for length: 0 up to ``max_tokens - overlong_buffer``, then falling; 0 unless asked for.

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
