# SPDX-License-Identifier: Apache-2.0
"""A result is the exact value, or the value rounded as it is written."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.numerals.equations.results import is_cut_off, is_rounded, is_same, numeral_of, rounded


@pytest.mark.parametrize(
    ("value", "num_decimals", "expected"),
    [
        (7, 0, 7), (Fraction(1, 8), 0, Fraction(1, 8)), (Fraction(2, 3), 0, 1), (Fraction(2, 3), 2, Fraction(67, 100)),
        (Fraction(-2, 3), 1, Fraction(-7, 10)), (Fraction(1, 3), 3, Fraction(333, 1000)),
        (Fraction(15, 10**7), 6, Fraction(2, 10**6)),  # halves away from zero
    ],
)  # fmt: skip
def test_only_values_of_many_decimals_are_rounded(value, num_decimals, expected):
    assert rounded(value, num_decimals) == expected


def test_results_may_be_off_by_an_error_of_floating_point_alone():
    assert is_same(Fraction(1, 3), Fraction(333333333333, 10**12)) and is_same(0, 0)
    assert not is_same(Fraction(1, 3), Fraction(333, 1000)) and not is_same(0, Fraction(1, 10**12))


def test_halves_may_be_rounded_up_or_down():
    value = Fraction(4875, 1000)
    assert is_rounded(value, Fraction(487, 100), 2) and is_rounded(value, Fraction(488, 100), 2)
    assert not is_rounded(value, Fraction(489, 100), 2) and not is_rounded(value, 4, 0)


def test_quotients_may_be_cut_off_to_either_integer_beside_them():
    value = Fraction(50, 3)
    assert is_cut_off(value, 16) and is_cut_off(value, 17) and not is_cut_off(value, 18)
    assert not is_cut_off(16, 16) and not is_cut_off(value, Fraction(33, 2))


@given(st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_a_numeral_has_the_value_that_it_is_made_of(numerator, num_decimals):
    value = Fraction(numerator, 10**num_decimals)
    assert numeral_of(value).value == value
