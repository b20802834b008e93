# SPDX-License-Identifier: Apache-2.0
"""Welch's t-test of digits against others: a value worked out by hand, and where there is none."""

import math

import pytest

from ntl_jax.metrics.divergence.questions.token import DivergentToken, read_token
from ntl_jax.metrics.divergence.questions.welch import digits_against_others
from tests.divergence_lines import lines


def of(values, *, is_digit):
    return [DivergentToken(value, 0, is_digit=is_digit) for value in values]


def test_the_test_of_the_twenty_lines_is_the_one_worked_out_by_hand():
    """Fifteen digits: ten of 0.8, three of 0.6, two of 0.5, mean 0.72; others: two of 0.6, three of 0.5, mean 0.54.

    Variances (10 * 0.08^2 + 3 * 0.12^2 + 2 * 0.22^2) / 14 and (2 * 0.06^2 + 3 * 0.04^2) / 4.
    """
    of_digits, of_others = 0.204 / 14 / 15, 0.012 / 4 / 5
    df = (of_digits + of_others) ** 2 / (of_digits**2 / 14 + of_others**2 / 4)
    test = digits_against_others(map(read_token, lines()))
    assert test is not None
    assert test.t == pytest.approx(0.18 / math.sqrt(of_digits + of_others))
    assert test.df == pytest.approx(df)
    assert 3e-4 < test.p < 4e-4


def test_the_sign_says_which_side_diverges_more():
    low, high = (0.1, 0.2, 0.3), (0.7, 0.8, 0.9)
    signs = []
    for digits, others in ((high, low), (low, high)):
        test = digits_against_others(of(digits, is_digit=True) + of(others, is_digit=False))
        assert test is not None
        signs.append(test.t > 0)
    assert signs == [True, False]


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        of([0.8, 0.9], is_digit=True),
        of([0.8, 0.9], is_digit=True) + of([0.8], is_digit=False),
        of([0.8, 0.8], is_digit=True) + of([0.7, 0.7], is_digit=False),
        of([0.8, 0.9], is_digit=True) + of([None] * 5, is_digit=False),
        of([0.8, 0.9, 0.7], is_digit=None),
    ],
)
def test_where_nothing_can_be_compared_there_is_no_test(tokens):
    assert digits_against_others(tokens) is None


def test_values_that_are_almost_equal_raise_no_warning():
    tokens = of([0.8, 0.8 + 1e-16, 0.8], is_digit=True) + of([0.8 + 1e-16, 0.8, 0.8], is_digit=False)
    test = digits_against_others(tokens)
    assert test is None or 0 <= test.p <= 1
