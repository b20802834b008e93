# SPDX-License-Identifier: Apache-2.0
"""Counts of digits, against counts by hand."""

import numpy as np
import pytest

from ntl_jax.metrics.report.digits import LENGTHS, PLACES, count_digits, digits_of
from tests.logged import sample


def digits(response: str, truth: str, **values: object) -> list:
    return list(digits_of(sample(0, response, truth=truth, **values).as_row()))


def test_a_digit_has_the_place_and_the_length_of_the_number_it_is_written_in():
    found = digits("so 1,234.5", "12345")
    assert [(PLACES[d.place], d.truth) for d in found] == [
        ("thousands and above", 1), ("hundreds", 2), ("tens", 3), ("units", 4), ("decimals", 5),
    ]  # fmt: skip
    assert {LENGTHS[d.length] for d in found} == {"4"}


def test_digits_without_a_true_value_are_not_counted():
    assert [d.truth for d in digits("7 is 42", "42")] == [4, 2]
    assert digits("42", "42", digit_truth=None) == []
    assert digits("42", "42", digit_probabilities=None) == []


def test_the_expected_digit_and_the_right_ones_are_counted():
    # The policy gives 0.9 to what it wrote; the mean of 0 to 9 is then 4.5 / 9 * 0.1 + 0.9 * d - 0.1 * d / 9.
    counts = count_digits([3], [digits("41", "42")])
    assert counts is not None and counts["iterations"] == [[3, 3]]
    units, tens = PLACES.index("units"), PLACES.index("tens")
    assert counts["by_place"][0][tens] == [1, 1] and counts["by_place"][0][units] == [0, 1]
    assert counts["by_length"][0] == [[0, 0], [1, 2], [0, 0], [0, 0], [0, 0]]
    confusion = np.array(counts["confusion"][0])
    assert confusion[tens, 4, 4] == 1 and confusion[units, 2, 1] == 1 and confusion.sum() == 2


def test_every_digit_counts_ten_times_in_the_calibration():
    counts = count_digits([1], [digits("41", "42")])
    assert counts is not None
    calibration = np.array(counts["calibration"][0])
    assert calibration[:, 0].tolist() == [18, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    np.testing.assert_allclose(calibration[9], [2, 1.8, 1], atol=1e-3)  # two were likely, one of them true
    np.testing.assert_allclose(calibration[0], [18, 0.2, 1], atol=1e-3)


def test_iterations_are_counted_in_windows():
    counts = count_digits(range(1, 26), [digits("42", "42")] * 25)
    assert counts is not None and len(counts["iterations"]) == 10 and counts["iterations"][-1] == [24, 25]
    assert sum(window[0][1] for window in counts["by_place"]) == 25


def test_without_digits_there_are_no_counts():
    assert count_digits([1, 2], [[], []]) is None and count_digits([], []) is None


@pytest.mark.parametrize(
    "values",
    [
        {"digit_probabilities": [[0.5] * 3] * 2},
        {"digit_truth": [11, 12]},
        {"digit_probabilities": [[-5.0, *[1.0] * 9]] * 2},
        {"token_starts": None},
        {"response": 5},
    ],
)
def test_a_sample_of_another_kind_is_an_error(values):
    with pytest.raises((ValueError, TypeError)):
        list(digits_of(sample(0, "42").as_row() | values))
