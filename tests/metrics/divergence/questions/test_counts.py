# SPDX-License-Identifier: Apache-2.0
"""The counts of a diagnosis are those of the tokens, and unknown ones are in none of them."""

import pytest

from ntl_jax.metrics.divergence.questions.counts import Counts, Side, count
from ntl_jax.metrics.divergence.questions.token import DivergentToken, read_token
from tests.divergence_lines import lines


def test_the_counts_of_the_twenty_lines_are_those_counted_by_hand():
    counts = count([read_token(row) for row in lines()])
    sides = {name: value.count for name, value in vars(counts).items() if isinstance(value, Side)}
    assert sides == {
        "correct": 16, "incorrect": 4, "digits": 15, "others": 5, "correct_digits": 12, "incorrect_digits": 3,
        "fresh": 5, "older": 15,
    }  # fmt: skip
    assert (counts.tokens, counts.not_finite, counts.first_half, counts.second_half) == (20, 0, 5, 5)
    assert counts.others.mean == pytest.approx(0.54)


def test_tokens_of_which_nothing_is_known_are_only_counted():
    assert count([DivergentToken(0.8, 0)]) == Counts(tokens=1)
    assert count([]) == Counts(tokens=0)
    assert count([DivergentToken(None, 0)]) == Counts(tokens=1, not_finite=1)


def test_an_iteration_in_the_middle_is_in_neither_half():
    counts = count([DivergentToken(0.8, 0, iteration=i) for i in (0, 0, 1, 2, 2)])
    assert (counts.first_half, counts.second_half) == (1, 1)
