# SPDX-License-Identifier: Apache-2.0
"""Claims about advantages: recursion over gaps, groups in any order, groups of one, fractional and missing scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.advantages import (
    gae,
    group_advantages,
    leave_one_out_advantages,
    optimal_baseline_advantages,
    reinforce_plus_plus_advantages,
    remax_advantages,
)

RNG = np.random.default_rng(0)
REWARDS, VALUES = (jnp.array(RNG.normal(size=(5, 8)), jnp.float32) for _ in range(2))
MASK = jnp.array(RNG.random((5, 8)) > 0.3).at[3].set(False).at[4].set(True)
# Groups of 3, 2 and 1, unsorted, with ids that are neither small nor positive; the scores are fractions.
IDS = jnp.array([-7, 12, -7, 2**31 - 1, 12, -7])
SCORES = jnp.array([0.25, 1.0, 0.5, 0.7, 0.1, 0.9])

ONE_NUMBER_PER_ROW = {
    "group": group_advantages,
    "group without std": lambda *args, **kwargs: group_advantages(*args, normalize=False, **kwargs),
    "leave one out": leave_one_out_advantages,
    "optimal baseline": lambda scores, ids, **kwargs: optimal_baseline_advantages(scores, ids, LENGTHS, **kwargs),
}
LENGTHS = jnp.array([3, 1, 5, 4, 2, 8])
each_group_form = pytest.mark.parametrize("advantages", ONE_NUMBER_PER_ROW.values(), ids=ONE_NUMBER_PER_ROW.keys())


def by_group(function):
    """The scores of each group, in order, through a function of one group's scores and lengths; float64."""
    scores, out = np.asarray(SCORES, np.float64), np.zeros(6)
    for group in set(IDS.tolist()):
        rows = np.flatnonzero(np.asarray(IDS) == group)
        out[rows] = function(scores[rows], np.asarray(LENGTHS)[rows])
    return out


def gae_by_definition(rewards, values, mask, gamma, lam):
    """One row at a time, on its counted tokens alone, in float64."""
    advantages = np.zeros(mask.shape)
    for row in range(len(mask)):
        next_value = next_advantage = 0.0
        for t in np.flatnonzero(mask[row])[::-1]:
            delta = float(rewards[row, t]) + gamma * next_value - float(values[row, t])
            advantages[row, t] = next_advantage = delta + gamma * lam * next_advantage
            next_value = float(values[row, t])
    return advantages


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.9, 0.8), (0.95, 0.0)])
def test_gae_equals_its_definition_on_the_counted_tokens(gamma, lam):
    advantages, returns = gae(REWARDS, VALUES, MASK, gamma=gamma, lam=lam)
    expected = gae_by_definition(REWARDS, VALUES, np.asarray(MASK), gamma, lam)
    np.testing.assert_allclose(advantages, expected, atol=1e-5)
    np.testing.assert_allclose(returns, np.where(MASK, expected + VALUES, 0.0), atol=1e-5)


def test_gae_of_the_base_case():
    # delta_2 = 1 - .5 = .5; delta_1 = 0 + .5 * .5 - .2 = .05; delta_0 = 0 + .5 * .2 - .1 = 0; gamma lam = .25.
    advantages, returns = gae(
        jnp.array([0.0, 0.0, 1.0]), jnp.array([0.1, 0.2, 0.5]), jnp.ones(3, bool), gamma=0.5, lam=0.5
    )
    np.testing.assert_allclose(advantages, [0.04375, 0.175, 0.5], rtol=1e-5)
    np.testing.assert_allclose(returns, [0.14375, 0.375, 1.0], rtol=1e-5)


def test_masked_tokens_of_gae_may_hold_anything_and_get_zero():
    expected = gae(REWARDS, VALUES, MASK, gamma=0.9, lam=0.8)
    bad = gae(jnp.where(MASK, REWARDS, jnp.nan), jnp.where(MASK, VALUES, jnp.inf), MASK, gamma=0.9, lam=0.8)
    for x, y in zip(expected, bad, strict=True):
        np.testing.assert_array_equal(x, y)
        assert not x[~MASK].any()


def test_gae_refuses_a_float_mask_and_a_bootstrap_column():
    with pytest.raises(ValueError, match="mask is float32"):
        gae(REWARDS, VALUES, MASK.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"values \(5, 9\)"):
        gae(REWARDS, jnp.zeros((5, 9)), MASK)


def test_group_advantages_equal_their_definition():
    def standardised(scores, _):
        return scores if len(scores) == 1 else (scores - scores.mean()) / (scores.std(ddof=1) + 1e-6)

    np.testing.assert_allclose(group_advantages(SCORES, IDS), by_group(standardised), rtol=1e-5)


def test_group_advantages_without_the_std_are_differences():
    expected = by_group(lambda scores, _: scores - scores.mean() if len(scores) > 1 else scores)
    np.testing.assert_allclose(group_advantages(SCORES, IDS, normalize=False), expected, atol=1e-7)


def test_leave_one_out_subtracts_the_mean_of_the_others():
    def against_others(scores, _):
        return [x - np.delete(scores, i).mean() if len(scores) > 1 else x for i, x in enumerate(scores)]

    np.testing.assert_allclose(leave_one_out_advantages(SCORES, IDS), by_group(against_others), atol=1e-6)


def test_optimal_baseline_is_the_length_weighted_mean():
    def weighted(scores, lengths):
        return scores - (scores @ lengths) / lengths.sum() if len(scores) > 1 else scores

    np.testing.assert_allclose(optimal_baseline_advantages(SCORES, IDS, LENGTHS), by_group(weighted), atol=1e-6)


@each_group_form
def test_a_group_of_one_keeps_its_score(advantages):
    np.testing.assert_allclose(advantages(SCORES, IDS)[3], SCORES[3], rtol=2e-6)


@each_group_form
@pytest.mark.parametrize("score", [0.1, 100.3])
def test_equal_scores_give_exactly_zero(advantages, score):
    assert not advantages(jnp.full(6, score), jnp.array([4, 4, 4, 4, 4, 4])).any()


@each_group_form
@pytest.mark.parametrize("bad", [jnp.nan, 1e9])
def test_scores_that_do_not_count_leave_their_groups_mean(advantages, bad):
    where = jnp.array([True, True, False, False, True, True])
    with_bad = advantages(SCORES.at[jnp.array([2, 3])].set(bad), IDS, where=where)
    # Without row 2 group -7 is rows 0 and 5; the group of row 3 is empty.
    without = advantages(SCORES, IDS.at[2].set(99), where=None)
    np.testing.assert_allclose(with_bad, jnp.where(where, without, 0.0), rtol=1e-6)


def test_a_group_that_shrinks_to_one_keeps_its_score():
    where = jnp.array([True, True, False, True, False, False])
    np.testing.assert_allclose(group_advantages(SCORES, IDS, where=where), jnp.where(where, SCORES, 0.0), rtol=2e-6)


def test_binary_scores_of_a_large_group_reach_no_further_than_they_should():
    # One right of 8: mean 1/8, unbiased std sqrt(1/8): 7/8 / sqrt(1/8) = 2.4749 and -1/8 / sqrt(1/8) = -0.3536.
    advantages = group_advantages(jnp.zeros(8).at[5].set(1.0), jnp.zeros(8, int))
    np.testing.assert_allclose(advantages, np.where(np.arange(8) == 5, 2.4749, -0.3536), atol=5e-5)


def test_no_rows_at_all_are_no_error():
    assert group_advantages(jnp.zeros(0), jnp.zeros(0, int)).shape == (0,)


def test_mistakes_about_groups_are_named():
    with pytest.raises(ValueError, match=r"scores \(5, 8\).*sum token rewards"):
        group_advantages(REWARDS, jnp.zeros((5, 8), int))
    with pytest.raises(ValueError, match="group_ids are float32"):
        group_advantages(SCORES, IDS.astype(jnp.float32))
    with pytest.raises(ValueError, match="where is int32"):
        group_advantages(SCORES, IDS, where=jnp.ones(6, jnp.int32))


def whitened(x, mask):
    counted = np.asarray(x, np.float64)[np.asarray(mask)]
    return np.where(mask, (x - counted.mean()) / np.sqrt(counted.var(ddof=1) + 1e-8), 0.0)


def test_reinforce_plus_plus_whitens_discounted_returns():
    returns = gae_by_definition(REWARDS, np.zeros((5, 8)), np.asarray(MASK), 0.9, 1.0)
    np.testing.assert_allclose(
        reinforce_plus_plus_advantages(REWARDS, MASK, gamma=0.9), whitened(returns, MASK), atol=1e-5
    )


def test_reinforce_plus_plus_with_groups_whitens_centred_scores():
    # Row 3 is empty, so row 1 is alone in its group and keeps its score.
    ids = jnp.array([5, -1, 5, -1, 5])
    scores = np.where(MASK, REWARDS, 0.0).sum(-1)
    deviations = scores - np.where(ids == 5, scores[[0, 2, 4]].mean(), 0.0)
    expected = whitened(np.broadcast_to(deviations[:, None], (5, 8)), MASK)
    np.testing.assert_allclose(reinforce_plus_plus_advantages(REWARDS, MASK, group_ids=ids), expected, atol=1e-5)


def test_remax_subtracts_the_greedy_score_from_the_reward_still_to_come():
    rewards = jnp.array([[0.5, 9.0, 0.25], [0.0, 0.0, 0.0]])
    mask = jnp.array([[True, False, True], [False, False, False]])
    advantages = remax_advantages(rewards, jnp.array([0.125, jnp.nan]), mask)
    np.testing.assert_allclose(advantages, [[0.625, 0.0, 0.125], [0.0, 0.0, 0.0]])


def test_masks_of_nothing_give_zeros():
    nothing = jnp.zeros((5, 8), bool)
    for x in (
        *gae(REWARDS, VALUES, nothing),
        reinforce_plus_plus_advantages(REWARDS, nothing),
        reinforce_plus_plus_advantages(REWARDS, nothing, group_ids=jnp.arange(5)),
        remax_advantages(REWARDS, jnp.ones(5), nothing),
        group_advantages(SCORES, IDS, where=jnp.zeros(6, bool)),
    ):
        assert not x.any()


def test_gae_under_vmap_and_jit_equals_gae_of_the_batch():
    for x, y in zip(gae(REWARDS, VALUES, MASK), jax.jit(jax.vmap(gae))(REWARDS, VALUES, MASK), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)
