# SPDX-License-Identifier: Apache-2.0
"""Each choice of advantage, on numbers computed by hand."""

import chex
import jax
import numpy as np
import pytest

from ntl_jax.config import AlgorithmSection
from ntl_jax.experience.credit import Rewards, credit, overlong_penalties, token_rewards
from ntl_jax.records import Values
from tests.samples import ask, respond

# Two prompts of two samples, scores 1 and 0, 0.5 and 0.5; lengths 1 and 2, 2 and 2.
MASK = np.array([[True, False], [True, True], [True, True], [True, True]])
REWARDS = Rewards(
    scores=np.array([1.0, 0.0, 0.5, 0.5], np.float32),
    groups=np.array([7, 7, 3, 3]),
    lengths=np.array([1, 2, 2, 2]),
    valid=np.ones(4, bool),
    greedy=np.full(4, 0.25, np.float32),
    several=np.array([[1, 0], [0, 2], [0.5, 1], [0.5, 3]], np.float32),
)
WHITE_MEAN, WHITE_DEVIATION = 3 / 7, np.sqrt((0.5714286**2 + 2 * 0.4285714**2 + 4 * 0.0714286**2) / 6)
BASELINES = ["group", "gdpo", "leave_one_out", "optimal_baseline", "reinforce_plus_plus_baseline"]


traced = jax.jit(credit, static_argnums=0)


def credited(rewards=REWARDS, mask=MASK, values=None, **settings) -> tuple[np.ndarray, Values | None]:
    """Advantages and values, from one program an algorithm: rows that count nowhere fill all batches up to [8, 2]."""
    rows, width = mask.shape
    missing = 8 - rows
    filled = Rewards(*(np.pad(x, [(0, missing)] + [(0, 0)] * (np.ndim(x) - 1)) for x in map(np.asarray, rewards)))
    groups = np.where(np.arange(8) < rows, filled.groups, -1)
    filled = filled._replace(groups=groups)
    mask = np.pad(mask, [(0, missing), (0, 2 - width)])
    per_token = token_rewards(filled, 2)
    values = np.zeros((8, 2), np.float32) if values is None else np.pad(values, [(0, missing), (0, 0)])
    found, of_critic = traced(AlgorithmSection(**settings), filled, per_token, mask, values)
    chex.assert_shape(found, (8, 2))
    chex.assert_tree_all_finite(found)
    return jax.tree.map(lambda x: np.asarray(x)[:rows, :width], (found, of_critic))


def advantages(*args, **settings) -> np.ndarray:
    return credited(*args, **settings)[0]


def of_scores(scores, groups, valid=None) -> tuple[Rewards, np.ndarray]:
    """Samples of one token each."""
    count = len(scores)
    valid = np.ones(count, bool) if valid is None else np.array(valid)
    scores, groups = np.array(scores, np.float32), np.array(groups, np.int32)
    several = np.stack([scores, scores**2], axis=1)
    rewards = Rewards(scores, groups, np.ones(count, np.int32), valid, np.zeros(count, np.float32), several)
    return rewards, valid[:, None]


def test_a_samples_reward_stands_at_its_last_token():
    assert token_rewards(REWARDS, 3).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0.5, 0], [0, 0.5, 0]]


@pytest.mark.parametrize(
    ("settings", "first_tokens"),
    [
        ({"advantage": "group"}, [0.7071, -0.7071, 0, 0]),
        ({"advantage": "group", "normalize_groups": False}, [0.5, -0.5, 0, 0]),
        ({"advantage": "leave_one_out"}, [1, -1, 0, 0]),
        ({"advantage": "optimal_baseline"}, [2 / 3, -1 / 3, 0, 0]),
        ({"advantage": "remax"}, [0.75, -0.25, 0.25, 0.25]),
        # Each reward of two samples is 0.7071 and -0.7071 or 0: the sums are 0, 0, -0.7071, 0.7071.
        ({"advantage": "gdpo"}, [0, 0, -1.2247, 1.2247]),
        # Twice the first: 0.7071, -0.7071, -0.7071, 0.7071.
        ({"advantage": "gdpo", "gdpo_reward_weights": (2.0, 1.0)}, [0.8660, -0.8660, -0.8660, 0.8660]),
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
    rewards, _ = of_scores([1, 0, 1, 0], [0, 0, 1, 1])
    mask, settings = np.array([[True], [False], [True], [True]]), {"advantage": "reinforce_plus_plus_baseline"}
    found = advantages(rewards, mask, **settings)
    np.testing.assert_allclose(found[:, 0], [0.5774, 0.0, 0.5774, -1.1547], atol=1e-4)
    # Without a score the second leaves the mean, and the first has no baseline: 0, then .5, -.5, std sqrt(.5).
    unscored = rewards._replace(valid=np.array([True, False, True, True]))
    found = advantages(unscored, mask, **settings)
    np.testing.assert_allclose(found[:, 0], [0.0, 0.0, 0.7071, -0.7071], atol=1e-4)


def test_a_critic_that_is_right_leaves_advantages_of_zero():
    values = np.where(MASK, REWARDS.scores[:, None], np.float32(9.0))
    np.testing.assert_allclose(advantages(advantage="gae", values=values), 0, atol=1e-6)


def test_a_critic_is_given_its_values_and_the_returns_and_others_get_none():
    values = np.full((4, 2), 0.25, np.float32)
    _, of_critic = credited(values=values, advantage="gae")
    assert of_critic is not None
    chex.assert_trees_all_equal(of_critic.old, values)
    # With gamma = lambda = 1 the return of each token is the reward that is still to come.
    np.testing.assert_allclose(of_critic.returns, [[1, 0], [0, 0], [0.5, 0.5], [0.5, 0.5]], atol=1e-6)
    assert credited()[1] is None


def test_advantages_of_a_critic_are_discounted_as_set_and_whitened():
    """gamma .5 and lambda .25: errors r + V'/2 - V, of which an eighth of the next token's is added."""
    mask, values = np.ones((2, 2), bool), np.array([[0.5, 0.25], [0.0, 1.0]], np.float32)
    rewards = Rewards(*(np.asarray(x)[:2] for x in REWARDS))._replace(lengths=np.array([2, 2]))
    last = [1 - 0.25, 0 - 1.0]
    raw = np.array([[0.125 - 0.5 + last[0] / 8, last[0]], [0.5 - 0.0 + last[1] / 8, last[1]]])
    found, of_critic = credited(rewards, mask, values, advantage="gae", gamma=0.5, lam=0.25)
    np.testing.assert_allclose(found, (raw - raw.mean()) / raw.std(ddof=1), rtol=1e-5)
    assert of_critic is not None
    np.testing.assert_allclose(of_critic.returns, raw + values, rtol=1e-5)


@pytest.mark.parametrize("advantage", BASELINES[:3])
def test_a_sample_whose_group_has_no_other_reward_has_no_advantage(advantage):
    rewards = REWARDS._replace(valid=np.array([True, False, True, True]))
    assert advantages(rewards, advantage=advantage)[:2].tolist() == [[0, 0], [0, 0]]


def test_a_sample_without_a_reward_leaves_its_groups_mean():
    """Of 0.9, 0.1, 0.1 the mean is 0.3667 and the deviation 0.4619: a silent 0 for the failed one would move both."""
    rewards, mask = of_scores([0, 0.9, 0.1, 0.1], [0] * 4, [False, True, True, True])
    np.testing.assert_allclose(advantages(rewards, mask)[:, 0], [0, 1.1547, -0.5774, -0.5774], atol=1e-3)


@pytest.mark.parametrize("advantage", BASELINES)
def test_a_baseline_uses_only_the_samples_of_its_draw(advantage):
    """Two draws of a question: four samples with reward 10, and four with rewards 1, 0, 0, 0."""
    rewards, mask = of_scores([10] * 4 + [1, 0, 0, 0], [4] * 4 + [10] * 4)
    found = advantages(rewards, mask, advantage=advantage, normalize_groups=False)[:, 0]
    expected = {"group": [0.75, -0.25, -0.25, -0.25], "leave_one_out": [1, -1 / 3, -1 / 3, -1 / 3]}
    if advantage in expected:
        np.testing.assert_allclose(found, [0, 0, 0, 0, *expected[advantage]], atol=1e-5)
    assert len(set(np.round(found[:4], 4))) == 1 and found[4] > found[5]


def test_group_advantages_of_a_prompt_sum_to_zero():
    rng = np.random.default_rng(0)
    rewards, mask = of_scores(rng.normal(size=8), np.repeat(np.arange(2), 4))
    np.testing.assert_allclose(advantages(rewards, mask).reshape(2, 4).sum(axis=1), 0, atol=1e-5)


@pytest.mark.parametrize("overlong", ["keep", "mask", "penalty"])
def test_length_costs_from_the_buffer_on_where_a_penalty_is_asked_for(overlong):
    sampled = [respond(ask(), "5" * length, finish="length") for length in (6, 8, 10)]
    section = AlgorithmSection(overlong=overlong, overlong_buffer=4, overlong_penalty=0.5)
    expected = [0, -0.25, -0.5] if overlong == "penalty" else [0, 0, 0]
    assert overlong_penalties(section, sampled, max_tokens=10).tolist() == expected
