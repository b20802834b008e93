# SPDX-License-Identifier: Apache-2.0
"""pass@k against counting, majority votes by hand."""

import itertools

import numpy as np
import pytest

from ntl_jax.metrics import majority, pass_at_k, repeated_metrics


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 2), (6, 6), (7, 3)])
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_sample(n, k):
    for num_correct in range(n + 1):
        right = [i < num_correct for i in range(n)]
        share = np.mean([any(draw) for draw in itertools.combinations(right, k)])
        assert pass_at_k(np.array([num_correct]), n, k) == pytest.approx([share], abs=1e-12)


def test_pass_at_k_of_many_samples_stays_a_probability():
    estimate = pass_at_k(np.array([0, 1, 5_000, 10_000]), 10_000, 1_000)
    assert estimate == pytest.approx([0.0, 0.1, 1.0, 1.0])


@pytest.mark.parametrize(
    ("answers", "truth", "expected"),
    [
        (["5", "5", "6"], "5", 1.0),
        (["5", "6", "6"], "5", 0.0),
        (["5", None, None], "5", 1.0),
        (["5", "6", "7", None], "5", 1 / 3),
        ([None, None], "5", 0.0),
    ],
)
def test_the_most_frequent_answer_wins_and_ties_count_in_part(answers, truth, expected):
    assert majority(answers, [answer == truth for answer in answers]) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "ks"), [(1, [1]), (2, [2]), (6, [2, 4, 6]), (8, [2, 4, 8])])
def test_pass_at_k_is_reported_for_powers_of_two_and_all_samples(n, ks):
    metrics = repeated_metrics([["1"] * n], np.ones((1, n), bool))
    assert metrics == {f"mean@{n}": 1.0, f"maj@{n}": 1.0} | {f"pass@{k}": 1.0 for k in ks}
