# SPDX-License-Identifier: Apache-2.0
"""The weight of each token in the losses of an update."""

from typing import Any, cast

import chex
import numpy as np
import pytest

from ntl_jax.numerals import TokenDecoder
from ntl_jax.records import Experience, Targets
from ntl_jax.update.token_weights import place_weights, policy_weights, supervised_weights

NAN = np.nan
MASK = np.array([[True, True, True, False], [True, True, False, False]])
NUMBERS = np.array([[NAN, 5, NAN, NAN], [NAN, NAN, NAN, 3]], np.float32)  # the last one does not count
TARGETS = Targets(np.zeros((2, 4), np.int32), MASK, NUMBERS)
ZEROS = np.zeros((2, 4), np.float32)
EXPERIENCE = Experience(TARGETS, ZEROS, ZEROS)


def test_tokens_outside_the_mask_have_no_number():
    assert np.argwhere(TARGETS.has_number).tolist() == [[0, 1]]


def test_every_token_weighs_the_same_by_default():
    weights = policy_weights(EXPERIENCE, scale=4)
    np.testing.assert_allclose(weights.loss, np.where(MASK, 1 / 5, 0.0))
    assert weights.reference is None


def test_every_response_weighs_the_same_where_a_mean_over_responses_is_asked_for():
    weights = policy_weights(EXPERIENCE, mode="seq-mean-token-mean", scale=8).loss
    np.testing.assert_allclose(np.asarray(weights).sum(axis=1), [0.5, 0.5])


def test_a_divisor_that_is_asked_for_is_the_longest_response_and_never_the_padded_size():
    weights = policy_weights(EXPERIENCE, mode="seq-mean-token-sum-norm", scale=5).loss
    np.testing.assert_allclose(np.asarray(weights)[MASK], 1 / (2 * 5))


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-mean"])
def test_numbers_weigh_what_their_tokens_weigh_and_divergences_that_times_their_own_weight(mode):
    experience = EXPERIENCE._replace(reference_log_probs=ZEROS)
    weights = policy_weights(experience, mode=mode, scale=8, reference_weight=0.5)
    expected = np.zeros((2, 4), np.float32)
    expected[0, 1] = np.asarray(weights.loss)[0, 1]
    np.testing.assert_array_equal(weights.numbers, expected)
    np.testing.assert_array_equal(weights.reference, 0.5 * np.asarray(weights.loss))


def test_supervised_weights_are_means_over_tokens_and_over_numbers():
    weights = supervised_weights(TARGETS)
    np.testing.assert_allclose(weights.loss, np.where(MASK, 1 / 5, 0.0))
    assert np.asarray(weights.numbers)[0, 1] == 1 and np.sum(weights.numbers) == 1 and weights.reference is None


def test_weights_of_places_multiply_those_of_numbers_alone():
    plain, weighed = (supervised_weights(TARGETS, x) for x in (None, np.full((2, 4), 3, np.float32)))
    np.testing.assert_array_equal(weighed.loss, plain.loss)
    np.testing.assert_array_equal(weighed.numbers, 3 * plain.numbers)


def decode(ids: np.ndarray) -> tuple[str, np.ndarray]:
    """Tokens are code points."""
    return "".join(map(chr, ids)), np.arange(len(ids))


@pytest.mark.parametrize(("method", "expected"), [("del", [4, 2, 1.02**-2, 1.02**-3]), ("ntil", [1.2, 1, 1.2, 1])])
def test_a_digit_weighs_what_its_place_in_the_solution_says(method, expected):
    solutions = [np.array([ord(c) for c in text]) for text in ("a 12.34", "no")]
    weights: Any = place_weights(method, solutions, cast(TokenDecoder, decode))
    assert [len(x) for x in weights] == [7, 2]
    np.testing.assert_allclose(weights[0][[2, 3, 5, 6]], expected, rtol=1e-6)


def test_other_methods_have_no_weights_of_places():
    assert place_weights("wasserstein", [np.array([49])], cast(TokenDecoder, decode)) is None


def test_a_batch_in_which_nothing_counts_has_weights_of_zero_and_no_nan():
    nothing = EXPERIENCE._replace(targets=TARGETS._replace(mask=np.zeros_like(MASK)))
    for weights in (policy_weights(nothing, scale=4), supervised_weights(nothing.targets)):
        chex.assert_tree_all_finite(weights)
        assert not np.any(weights.loss) and not np.any(weights.numbers)
