# SPDX-License-Identifier: Apache-2.0
"""Measures of groups of problems, by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest

from ntl_jax.metrics.numeric import collect_measures, compare_measures, numeric_measures, summarize_measures

ALL = np.ones(3, bool)


def measured(answers, truths=("10", "200", "4")):
    rows = []
    for answer, truth in zip(answers, truths, strict=True):
        given = None if answer is None else Fraction(answer)
        rows.append(numeric_measures(given, Fraction(truth), is_right=answer == truth))
    return collect_measures(rows)


def test_a_group_has_means_and_the_median_of_relative_errors():
    summary = summarize_measures(measured(["10", "100", None]), ALL)
    assert summary["exact_match"] == pytest.approx(1 / 3) and summary["answered"] == pytest.approx(2 / 3)
    assert summary["smape"] == pytest.approx((0 + 1 / 3 + 1) / 3)
    assert summary["median_relative_error"] == 0.5  # of 0, 0.5 and infinite
    assert summary["order_of_magnitude"] == pytest.approx(2 / 3)


def test_a_place_counts_only_the_numbers_that_have_it():
    summary = summarize_measures(measured(["10", "100", None]), ALL)
    assert (summary["digit/100"], summary["digit/10"], summary["digit/1"]) == (0, 1, pytest.approx(2 / 3))
    assert "digit/100" not in summarize_measures(measured(["10", "100", None]), np.array([True, False, True]))


def test_half_of_the_problems_without_an_answer_make_the_median_infinite():
    assert summarize_measures(measured(["10", None, None]), ALL)["median_relative_error"] == math.inf


def test_differences_are_those_of_the_summaries():
    first, second = measured(["10", "200", "5"]), measured(["10", "100", "5"])
    differences = compare_measures(first, second, ALL)
    of_first, of_second = summarize_measures(first, ALL), summarize_measures(second, ALL)
    assert differences.keys() == of_first.keys()
    for name, difference in differences.items():
        assert difference.value == pytest.approx(of_first[name] - of_second[name])
        assert difference.low <= difference.value <= difference.high


def test_a_measure_of_one_policy_alone_is_not_compared():
    first = measured(["10", "200", "5"])
    assert "pass@2" not in compare_measures(first | {"pass@2": np.ones(3)}, first, ALL)
