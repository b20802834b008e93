# SPDX-License-Identifier: Apache-2.0
"""GDPO against its definition, and what it is for: samples that the sum of their rewards cannot tell apart."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses import gdpo_advantages, group_advantages

RNG = np.random.default_rng(0)
IDS = np.array([4, -2, 4, 4, -2, 9, 9, 9, 9])
SCORES = RNG.normal(size=(9, 3)) * [1.0, 50.0, 0.01]
WEIGHTS = np.array([1.0, 0.25, 2.0])


def by_definition(scores, ids, weights, epsilon=1e-6):
    """One reward, one group at a time, in float64."""
    total = np.zeros(len(ids))
    for k, weight in enumerate(weights):
        for group in set(ids.tolist()):
            rows = ids == group
            x = scores[rows, k]
            total[rows] += weight * (x - x.mean()) / (x.std(ddof=1) + epsilon)
    return (total - total.mean()) / total.std(ddof=1)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_advantage_is_that_of_the_definition(weights):
    given = None if weights is None else jnp.array(weights)
    found = gdpo_advantages(jnp.array(SCORES), jnp.array(IDS), weights=given)
    np.testing.assert_allclose(found, by_definition(SCORES, IDS, np.ones(3) if weights is None else weights), atol=2e-5)


def test_two_rewards_of_two_samples_by_hand():
    """Right and long, wrong and short; then right and short, wrong and long; then equal in the length."""
    scores = jnp.array([[1.0, 0], [0, 1], [1, 1], [0, 0], [1, 1], [0, 1]])
    found = gdpo_advantages(scores, jnp.array([0, 0, 1, 1, 2, 2]), epsilon=0.0)
    sums = np.array([0, 0, 2, -2, 1, -1]) / np.sqrt(2)
    np.testing.assert_allclose(found, sums / np.sqrt((sums**2).sum() / 5), atol=1e-6)


def test_samples_of_one_sum_differ_where_their_rewards_differ():
    scores, ids = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]]), jnp.zeros(4, int)
    of_sum, found = group_advantages(scores.sum(axis=1), ids), gdpo_advantages(scores, ids)
    assert of_sum[0] == of_sum[1] and found[0] > found[1] + 0.1


def test_the_unit_of_a_reward_does_not_matter():
    found = gdpo_advantages(jnp.array(SCORES), jnp.array(IDS), epsilon=0.0)
    scaled = gdpo_advantages(jnp.array(SCORES * [1000.0, 0.1, 5.0] + [3.0, 0, 0]), jnp.array(IDS), epsilon=0.0)
    np.testing.assert_allclose(found, scaled, atol=1e-4)


def test_rewards_in_which_all_samples_agree_give_exactly_0():
    scores = jnp.array([[0.1, 70.3], [0.1, 70.3], [0.7, 1e5], [0.7, 1e5]])
    assert not gdpo_advantages(scores, jnp.array([0, 0, 1, 1])).any()


def test_samples_without_a_score_change_nothing():
    where = np.array([True] * 9 + [False] * 3)
    scores = np.concatenate([SCORES, np.full((3, 3), np.nan)])
    ids = np.concatenate([IDS, [4, 9, 77]])
    found = gdpo_advantages(jnp.array(scores), jnp.array(ids), where=jnp.array(where))
    np.testing.assert_allclose(found[:9], gdpo_advantages(jnp.array(SCORES), jnp.array(IDS)), atol=1e-6)
    assert not found[9:].any()


def test_a_single_score_in_a_group_of_several_gets_0_and_is_left_out_of_the_whitening():
    scores, ids = jnp.array([[1.0, 2.0], [0.0, 1.0], [5.0, 5.0], [9.0, 9.0]]), jnp.array([0, 0, 1, 1])
    found = gdpo_advantages(scores, ids, where=jnp.array([True, True, True, False]))
    np.testing.assert_allclose(found, [2**-0.5, -(2**-0.5), 0, 0], atol=1e-6)


def test_groups_of_one_sample_are_compared_over_the_batch():
    scores = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]])
    sums = np.array([3.0, 7.0, 14.0])
    np.testing.assert_allclose(
        gdpo_advantages(scores, jnp.arange(3)), (sums - 8) / np.sqrt((25 + 1 + 36) / 2), atol=1e-4
    )


@pytest.mark.parametrize(
    ("scores", "rest", "says"),
    [
        (jnp.zeros(4), {}, r"scores \(4,\) must be \[B, K\]"),
        (jnp.zeros((4, 0)), {}, r"scores \(4, 0\) must be \[B, K\]"),
        (jnp.zeros((3, 2)), {}, r"must all be \[B\]"),
        (jnp.zeros((4, 2)), {"weights": jnp.ones(3)}, r"weights \(3,\) must be \[K\]"),
        (jnp.zeros((4, 2)), {"epsilon": -1.0}, "epsilon=-1.0"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(scores, rest, says):
    with pytest.raises(ValueError, match=says):
        gdpo_advantages(scores, jnp.zeros(4, int), **rest)
