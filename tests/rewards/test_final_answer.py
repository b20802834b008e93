# SPDX-License-Identifier: Apache-2.0
"""What a record says of the final answer's digits alone, worked out by hand."""

import numpy as np
import pytest

from ntl_jax.experience.digits.ntl_info import blank_labels, build_ntl_info
from ntl_jax.rewards import (
    calculate_final_answer_confidence,
    calculate_final_answer_digit_accuracy,
    calculate_final_answer_prob_quality,
    find_final_answer_positions,
)


def test_the_answers_own_metrics(info):
    assert [positions.tolist() for positions in find_final_answer_positions(info)] == [[11, 12]]
    # 7 and 2 are most likely and right; the hundreds are missing: 2 of 3.
    assert calculate_final_answer_digit_accuracy(info) == pytest.approx([2 / 3])
    assert calculate_final_answer_confidence(info) == pytest.approx([(0.9 + 0.6) / 2])
    assert calculate_final_answer_prob_quality(info) == pytest.approx([(0.9 + 0.6) / 2])


def test_the_answers_metrics_of_a_response_without_digits_are_zero():
    blank = build_ntl_info([np.zeros((2, 10), np.float32)], [blank_labels(2)], ["no"])
    for metric in (
        calculate_final_answer_digit_accuracy,
        calculate_final_answer_confidence,
        calculate_final_answer_prob_quality,
    ):
        assert metric(blank) == [0.0]
