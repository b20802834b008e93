# SPDX-License-Identifier: Apache-2.0
"""Errors of single answers, by hand."""

import math
from fractions import Fraction

import pytest

from ntl_jax.numerals import digits_right, leading_digits_right, order_of_magnitude, relative_error, symmetric_error


@pytest.mark.parametrize(
    ("answer", "truth", "relative", "symmetric"),
    [
        ("72", "72", 0, 0),
        ("71", "72", 1 / 72, 1 / 143),
        ("-3", "1", 4, 1),
        ("0", "8", 1, 1),
        ("1/2", "2/3", 1 / 4, 1 / 7),
        ("0", "0", 0, 0),
        ("5", "0", math.inf, 1),
        (None, "7", math.inf, 1),
        (None, "0", math.inf, 1),
        (f"{10**400}", "1", math.inf, 1),
        (f"{10**400 + 10**399}", f"{10**400}", 0.1, 0.1 / 2.1),
    ],
)
def test_errors_are_those_of_the_formulas(answer, truth, relative, symmetric):
    given = None if answer is None else Fraction(answer)
    assert relative_error(given, Fraction(truth)) == pytest.approx(relative)
    assert symmetric_error(given, Fraction(truth)) == pytest.approx(symmetric)


@pytest.mark.parametrize("exponent", [-400, -20, -1, 0, 1, 15, 16, 23, 400])
def test_the_order_of_magnitude_is_exact_at_powers_of_ten_and_just_below(exponent):
    power = Fraction(10) ** exponent
    assert order_of_magnitude(power) == order_of_magnitude(-power) == exponent
    assert order_of_magnitude(power * (1 - Fraction(1, 10**30))) == exponent - 1
    assert order_of_magnitude(power * Fraction(999, 100)) == exponent


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("193", "123", {2: True, 1: False, 0: True}),
        ("23", "123", {2: False, 1: True, 0: True}),
        ("5", "5", {0: True}),
        ("5", "105", {2: False, 1: False, 0: True}),  # the true 0 was not written
        ("1105", "105", {2: True, 1: True, 0: True}),  # one digit too many is a matter of the order of magnitude
        ("-12", "12", {1: True, 0: True}),
        ("0.25", "0.35", {0: True, -1: False, -2: True}),
        ("0.5", "0.50", {0: True, -1: True}),
        ("3", "3.25", {0: True, -1: False, -2: False}),
        ("0", "0", {0: True}),
        ("0.3", "1/3", {0: True}),
        (None, "42", {1: False, 0: False}),
    ],
)
def test_digits_are_compared_place_by_place(answer, truth, right):
    assert digits_right(None if answer is None else Fraction(answer), Fraction(truth)) == right


@pytest.mark.parametrize(
    ("answer", "truth", "share"),
    [
        ("129", "123", 2 / 3),
        ("223", "123", 0),
        ("0.0123", "0.0124", 2 / 3),
        ("0.07", "0.05", 0),
        ("12.5", "12", 2 / 3),
        ("12", "12.5", 2 / 3),
        ("0.3", "1/3", 0),
        ("1/3", "1/3", 1),
        ("0", "0", 1),
        ("7", "0", 0),
        ("-50", "50", 0),
        (None, "50", 0),
        (f"{10**40 + 1}", f"{10**40}", 40 / 41),
    ],
)
def test_digits_count_from_the_left_up_to_the_first_wrong_one(answer, truth, share):
    given = None if answer is None else Fraction(answer)
    assert leading_digits_right(given, Fraction(truth)) == pytest.approx(share)
