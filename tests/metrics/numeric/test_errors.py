# SPDX-License-Identifier: Apache-2.0
"""Errors of single answers, by hand."""

import math
from fractions import Fraction

import pytest

from ntl_jax.metrics.numeric import (
    digits_right,
    numeric_measures,
    order_of_magnitude,
    relative_error,
    symmetric_error,
)


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


def test_a_number_of_very_many_digits_has_few_places():
    assert len(digits_right(Fraction(10**300), Fraction(10**300))) == 13


def test_measures_name_the_place_value_of_digits():
    measures = numeric_measures(Fraction("10.5"), Fraction("11.25"), is_right=True)
    assert {name: value for name, value in measures.items() if name.startswith("digit/")} == {
        "digit/10": 1, "digit/1": 0, "digit/0.1": 0, "digit/0.01": 0
    }  # fmt: skip
    assert measures["exact_match"] == measures["answered"] == measures["order_of_magnitude"] == 1


def test_no_answer_is_the_worst_in_every_measure():
    measures = numeric_measures(None, Fraction(40), is_right=False)
    assert measures == {
        "answered": 0, "exact_match": 0, "smape": 1, "median_relative_error": math.inf, "order_of_magnitude": 0,
        "digit/10": 0, "digit/1": 0,
    }  # fmt: skip
