# SPDX-License-Identifier: Apache-2.0
"""Each choice of advantage, on numbers computed by hand."""

import numpy as np
import pytest

from ntl_jax.config import AlgorithmSection
from ntl_jax.experience.credit import Rewards, with_advantages
from ntl_jax.records import TrainBatch

# Two prompts of two samples, scores 1 and 0, 0.5 and 0.5; lengths 1 and 2, 2 and 2.
MASK = np.array([[True, False], [True, True], [True, True], [True, True]])
SCORES = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.5], [0.0, 0.5]], np.float32)
REWARDS = Rewards(
    SCORES, np.array([7, 7, 3, 3]), np.array([1, 2, 2, 2]), np.ones(4, bool), np.full(4, 0.25, np.float32)
)
WHITE_MEAN, WHITE_DEVIATION = 3 / 7, np.sqrt((0.5714286**2 + 2 * 0.4285714**2 + 4 * 0.0714286**2) / 6)


def advantages(rewards=REWARDS, values=None, **settings) -> np.ndarray:
    nothing = np.zeros(MASK.shape, np.int32)
    batch = TrainBatch(nothing, nothing, None, nothing, nothing, MASK, SCORES, old_values=values)
    return np.asarray(with_advantages(AlgorithmSection(**settings), batch, rewards).advantages)


@pytest.mark.parametrize(
    ("settings", "first_tokens"),
    [
        ({"advantage": "group"}, [0.7071, -0.7071, 0, 0]),
        ({"advantage": "group", "normalize_groups": False}, [0.5, -0.5, 0, 0]),
        ({"advantage": "leave_one_out"}, [1, -1, 0, 0]),
        ({"advantage": "optimal_baseline"}, [2 / 3, -1 / 3, 0, 0]),
        ({"advantage": "remax"}, [0.75, -0.25, 0.25, 0.25]),
        (
            {"advantage": "reinforce_plus_plus"},
            [(x - WHITE_MEAN) / WHITE_DEVIATION for x in (1.0, 0.0, 0.5, 0.5)],
        ),
    ],
    ids=str,
)
def test_the_first_tokens_advantage_is_what_the_formula_gives(settings, first_tokens):
    found = advantages(**settings)
    np.testing.assert_allclose(found[:, 0], first_tokens, atol=1e-4)
    assert not found[~MASK].any()


def test_with_the_baseline_reinforce_plus_plus_tells_only_samples_of_one_prompt_apart():
    found = advantages(advantage="reinforce_plus_plus_baseline")
    assert found[0, 0] > 0 > found[1, 0]
    assert found[2, 0] == found[3, 0]


def test_a_masked_response_is_included_in_the_mean_of_reinforce_plus_plus():
    # [1, 0 | 1, 0] with the second masked out: deviations .5, .5, -.5; mean 1/6, std sqrt(1/3).
    nothing, mask = np.zeros((4, 1), np.int32), np.array([[True], [False], [True], [True]])
    batch = TrainBatch(nothing, nothing, None, nothing, nothing, mask, nothing)
    scores = np.array([[1.0], [0.0], [1.0], [0.0]], np.float32)
    rewards = Rewards(scores, np.array([0, 0, 1, 1]), np.ones(4, int), np.ones(4, bool))
    algorithm = AlgorithmSection(advantage="reinforce_plus_plus_baseline")
    found = with_advantages(algorithm, batch, rewards).advantages
    np.testing.assert_allclose(found[:, 0], [0.5774, 0.0, 0.5774, -1.1547], atol=1e-4)  # pyright: ignore
    # Without a score the second leaves the mean, and the first has no baseline: 0, then .5, -.5, std sqrt(.5).
    unscored = rewards._replace(valid=np.array([True, False, True, True]))
    found = with_advantages(algorithm, batch, unscored).advantages
    np.testing.assert_allclose(found[:, 0], [0.0, 0.0, 0.7071, -0.7071], atol=1e-4)  # pyright: ignore


def test_a_critic_that_is_right_leaves_advantages_of_zero():
    values = np.where(MASK, SCORES.sum(axis=1, keepdims=True), 9.0).astype(np.float32)
    np.testing.assert_allclose(advantages(advantage="gae", values=values), 0, atol=1e-6)


@pytest.mark.parametrize("advantage", ["group", "leave_one_out", "optimal_baseline"])
def test_a_sample_whose_group_has_no_other_reward_has_no_advantage(advantage):
    valid = REWARDS._replace(valid=np.array([True, False, True, True]))
    assert advantages(valid, advantage=advantage)[:2].tolist() == [[0, 0], [0, 0]]
