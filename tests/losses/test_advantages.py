# SPDX-License-Identifier: Apache-2.0
"""Claims about advantages: recursion over gaps, groups in any order, groups of one, fractional and missing scores."""

import functools

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


PACKED = [x[:4].reshape(2, 16) for x in (REWARDS, VALUES, MASK)]
# The two sequences of the first row are numbered, those of the second are separated by a change of id.
SEGMENT_IDS = jnp.array([[0] * 8 + [1] * 8, [9] * 8 + [-2] * 8])


def test_packed_rows_have_the_advantages_of_their_sequences():
    discounted = functools.partial(gae, gamma=0.9, lam=0.8)
    packed, separate = discounted(*PACKED, segment_ids=SEGMENT_IDS), discounted(REWARDS[:4], VALUES[:4], MASK[:4])
    for x, y in zip(packed, separate, strict=True):
        np.testing.assert_allclose(x.reshape(4, 8), y, atol=1e-6)
    rewards, _, mask = PACKED
    returns = reinforce_plus_plus_advantages(rewards, mask, gamma=0.9, segment_ids=SEGMENT_IDS)
    expected = reinforce_plus_plus_advantages(REWARDS[:4], MASK[:4], gamma=0.9)
    np.testing.assert_allclose(returns.reshape(4, 8), expected, atol=1e-6)
    greedy = jnp.array([0.5, -1.0, 2.0, 0.25])
    by_token = jnp.broadcast_to(greedy[:, None], (4, 8)).reshape(2, 16)
    expected = remax_advantages(REWARDS[:4], greedy, MASK[:4])
    packed = remax_advantages(rewards, by_token, mask, segment_ids=SEGMENT_IDS)
    np.testing.assert_allclose(packed.reshape(4, 8), expected, atol=1e-6)


def test_wrong_arguments_for_packed_rows_are_refused_by_name():
    rewards, _, mask = PACKED
    for ids in (SEGMENT_IDS[:, :8], SEGMENT_IDS.astype(jnp.float32), [[0] * 16] * 2):
        with pytest.raises(ValueError, match=r"segment_ids (are \w+ \(2, \d+\): pass ints|is a list: pass an array)"):
            gae(*PACKED, segment_ids=ids)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="pass unpacked rows"):
        reinforce_plus_plus_advantages(rewards, mask, group_ids=jnp.zeros(2, int), segment_ids=SEGMENT_IDS)
    with pytest.raises(ValueError, match=r"greedy_scores \(2,\) must be \(2, 16\)"):
        remax_advantages(rewards, jnp.zeros(2), mask, segment_ids=SEGMENT_IDS)


def test_gae_refuses_a_float_mask_and_a_bootstrap_column():
    with pytest.raises(ValueError, match="mask is float32"):
        gae(REWARDS, VALUES, MASK.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"values \(5, 9\).*values has an entry too many.*values\[\.\.\., :-1\]"):
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


@each_group_form
def test_a_single_valid_score_in_a_group_of_several_has_no_baseline(advantages):
    # Of group -7 only row 0 has a score, of group 12 only row 1; row 3 is alone in its group.
    where = jnp.array([True, True, False, True, False, False])
    expected = [0.0, 0.0, 0.0, 0.7, 0.0, 0.0]
    np.testing.assert_allclose(advantages(SCORES, IDS, where=where), expected, rtol=2e-6)


@each_group_form
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(
    "ids",
    [np.array([-7, 12, -7, 3, 12, -7], np.int8), np.array([2**32 - 1, 0, 2**32 - 1, 2**31, 0, 2**32 - 1], np.uint32)],
    ids=["int8", "uint32"],
)
def test_any_integer_ids_give_the_same_groups(advantages, transform, ids):
    np.testing.assert_allclose(transform(advantages)(SCORES, jnp.array(ids)), advantages(SCORES, IDS), rtol=1e-6)


def test_numpy_ids_of_64_bits_are_not_truncated_to_32():
    ids = np.array([1, 1, 1 + 2**32, 1 + 2**32])
    found = leave_one_out_advantages(jnp.array([1.0, 0.0, 0.5, 0.0]), ids)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(found, [1.0, -1.0, 0.5, -0.5])


def test_memory_is_linear_in_the_number_of_samples():
    rows = jnp.zeros(8192), jnp.zeros(8192, int)
    memory = jax.jit(group_advantages).lower(*rows).compile().memory_analysis()
    assert memory is not None and memory.temp_size_in_bytes < 100 * 8192


def test_binary_scores_of_a_large_group_reach_no_further_than_they_should():
    # One right of 8: mean 1/8, unbiased std sqrt(1/8): 7/8 / sqrt(1/8) = 2.4749 and -1/8 / sqrt(1/8) = -0.3536.
    advantages = group_advantages(jnp.zeros(8).at[5].set(1.0), jnp.zeros(8, int))
    np.testing.assert_allclose(advantages, np.where(np.arange(8) == 5, 2.4749, -0.3536), atol=5e-5)


def test_no_rows_at_all_are_no_error():
    assert group_advantages(jnp.zeros(0), jnp.zeros(0, int)).shape == (0,)


def test_mistakes_about_groups_are_named():
    with pytest.raises(ValueError, match=r"scores \(5, 8\).*sum token rewards"):
        group_advantages(REWARDS, jnp.zeros((5, 8), int))
    with pytest.raises(ValueError, match="where is int32"):
        group_advantages(SCORES, IDS, where=jnp.ones(6, jnp.int32))
    for ids in (IDS.astype(jnp.float32), np.array(list("abacba")), list("abacba"), [1, 2, 1, 3, 2, 1]):
        with pytest.raises(ValueError, match=r"group_ids are (float32|<U1|a list): .*np\.unique\(group_ids"):
            group_advantages(SCORES, ids)  # pyright: ignore[reportArgumentType]


def whitened(x, mask):
    counted = np.asarray(x, np.float64)[np.asarray(mask)]
    return np.where(mask, (x - counted.mean()) / np.sqrt(counted.var(ddof=1) + 1e-8), 0.0)


def test_reinforce_plus_plus_whitens_discounted_returns():
    returns = gae_by_definition(REWARDS, np.zeros((5, 8)), np.asarray(MASK), 0.9, 1.0)
    np.testing.assert_allclose(
        reinforce_plus_plus_advantages(REWARDS, MASK, gamma=0.9), whitened(returns, MASK), atol=1e-5
    )


def test_reinforce_plus_plus_with_groups_whitens_centred_scores():
    # Row 3 is fully masked: it is included in its group's mean with all of its rewards, and gets 0.
    ids = jnp.array([5, -1, 5, -1, 5])
    scores = np.where(MASK.at[3].set(True), REWARDS, 0.0).sum(-1)
    deviations = scores - np.where(ids == 5, scores[[0, 2, 4]].mean(), scores[[1, 3]].mean())
    expected = whitened(np.broadcast_to(deviations[:, None], (5, 8)), MASK)
    np.testing.assert_allclose(reinforce_plus_plus_advantages(REWARDS, MASK, group_ids=ids), expected, atol=1e-5)


def test_a_truncated_response_is_included_in_the_mean_of_reinforce_plus_plus():
    # [1, 0 | 1, 0], the second truncated: deviations .5, (-.5), .5, -.5; of the three mean 1/6, std sqrt(1/3).
    rewards, mask = jnp.array([[1.0], [0.0], [1.0], [0.0]]), jnp.array([[True], [False], [True], [True]])
    advantages = reinforce_plus_plus_advantages(rewards, mask, group_ids=jnp.array([0, 0, 1, 1]))
    np.testing.assert_allclose(advantages[:, 0], [0.5774, 0.0, 0.5774, -1.1547], atol=1e-4)


def test_a_sample_without_a_valid_score_is_excluded_from_reinforce_plus_plus():
    # Row 1 has no score, so row 0 has no baseline; rows 2 and 3 have deviations .5 and -.5, std sqrt(.5).
    rewards, mask = jnp.array([[1.0], [jnp.nan], [1.0], [0.0]]), jnp.ones((4, 1), bool)
    where, ids = jnp.array([True, False, True, True]), jnp.array([0, 0, 1, 1])
    advantages = reinforce_plus_plus_advantages(rewards, mask, group_ids=ids, where=where)
    np.testing.assert_allclose(advantages[:, 0], [0.0, 0.0, 0.7071, -0.7071], atol=1e-4)
    # Without groups rewards 1, 1 and 0 are whitened: mean 2/3, std sqrt(1/3).
    advantages = reinforce_plus_plus_advantages(rewards, mask, where=where)
    np.testing.assert_allclose(advantages[:, 0], [0.5774, 0.0, 0.5774, -1.1547], atol=1e-4)


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
