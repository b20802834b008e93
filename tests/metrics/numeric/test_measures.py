# SPDX-License-Identifier: Apache-2.0
"""What is measured of single answers, by name."""

import math
from fractions import Fraction

from ntl_jax.metrics.numeric import numeric_measures


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


def test_a_number_of_very_many_digits_has_few_measures():
    assert len(numeric_measures(Fraction(10**300), Fraction(10**300), is_right=True)) == 5 + 13
