# SPDX-License-Identifier: Apache-2.0
"""What a record says of the final answer's digits alone, worked out by hand."""

import numpy as np
import pytest

from ntl_jax.experience.digits.ntl_info import blank_labels, build_ntl_info
from ntl_jax.numerals import find_answer, label_response
from ntl_jax.rewards import (
    calculate_final_answer_confidence,
    calculate_final_answer_digit_accuracy,
    calculate_final_answer_prob_quality,
    find_final_answer_positions,
)

TEXT = "1+4=6 #### 73"


def on_two(low: int, high: int, share_of_high: float) -> np.ndarray:
    """Log-probs of ten digits, all but two impossible."""
    probs = np.full(10, 1e-30)
    probs[low], probs[high] = 1 - share_of_high, share_of_high
    return np.log(probs)


@pytest.fixture(scope="module")
def info():
    """Response and truths: the step's 6 should be 5, the answer's 73 should be 172.

    Shares: at 6: 5 has 0.2, 6 has 0.8. At 7: 7 has 0.9. At 3: 2 has 0.6, 3 has 0.4.
    """
    rows = np.full((len(TEXT), 10), -1.0)
    rows[4], rows[11], rows[12] = on_two(5, 6, 0.8), on_two(1, 7, 0.9), on_two(2, 3, 0.4)
    starts = np.arange(len(TEXT))
    digits = np.array([int(c) if c.isdigit() else -1 for c in TEXT])
    label = label_response(TEXT, starts, digits, "172", answer=find_answer(TEXT), mode="hybrid")
    return build_ntl_info([rows.astype(np.float32)], [label], [TEXT])


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
