# SPDX-License-Identifier: Apache-2.0
"""What a record says of the final answer's digits alone; one entry a sample."""

import numpy as np
from jaxtyping import Float, Int

from ntl_jax.records import NTLInfo


def find_final_answer_positions(ntl_info: NTLInfo) -> list[Int[np.ndarray, "digits"]]:
    """Response positions of the final answer's digits.

    Args:
        ntl_info: of a batch, or of the one sample that a reward function gets.

    Example: see `calculate_final_answer_digit_accuracy`.
    """
    return [np.flatnonzero(row) for row in ntl_info.is_answer]


def calculate_final_answer_digit_accuracy(ntl_info: NTLInfo) -> Float[np.ndarray, "B"]:
    """The answer's digits whose most likely value is true, over those with truth and the answer's missing places.

    Args:
        ntl_info: of a batch, or of the one sample that a reward function gets.

    Example: ``#### 76`` for 72, where the policy was sure of both digits
        >>> from ntl_jax.numerals import find_answer, label_response
        >>> from ntl_jax.experience.digits.ntl_info import build_ntl_info
        >>> sure = np.where(np.arange(10) == [[0], [7], [6]], 0.0, -30.0).astype(np.float32)
        >>> digits = np.array([-1, 7, 6])
        >>> label = label_response("#### 76", np.array([0, 5, 6]), digits, "72", answer=find_answer("#### 76"))
        >>> info = build_ntl_info([sure], [label], ["#### 76"])
        >>> find_final_answer_positions(info)[0].tolist(), calculate_final_answer_digit_accuracy(info).tolist()
        ([1, 2], [0.5])
        >>> calculate_final_answer_confidence(info).tolist(), calculate_final_answer_prob_quality(info).tolist()
        ([1.0], [0.5])
    """
    places = (ntl_info.is_answer & ntl_info.has_truth).sum(axis=1) + ntl_info.missing_answer_places
    return (ntl_info.is_answer & ntl_info.is_correct).sum(axis=1) / np.maximum(places, 1)


def calculate_final_answer_confidence(ntl_info: NTLInfo) -> Float[np.ndarray, "B"]:
    """Mean over the answer's digits of the most likely one's share; 0 where there are none.

    Args:
        ntl_info: of a batch, or of the one sample that a reward function gets.

    Example: see `calculate_final_answer_digit_accuracy`.
    """
    return mean_where(ntl_info.top_probability, ntl_info.is_answer)


def calculate_final_answer_prob_quality(ntl_info: NTLInfo) -> Float[np.ndarray, "B"]:
    """Mean share of the true digit over the answer's digits with truth; 0 where there are none.

    Args:
        ntl_info: of a batch, or of the one sample that a reward function gets.

    Example: see `calculate_final_answer_digit_accuracy`.
    """
    return mean_where(ntl_info.truth_probability, ntl_info.is_answer & ntl_info.has_truth)


def mean_where(values: Float[np.ndarray, "B T"], mask: np.ndarray) -> Float[np.ndarray, "B"]:
    """Mean of each row over its mask; 0 where that is empty."""
    return np.where(mask, values, 0.0).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
