# SPDX-License-Identifier: Apache-2.0
"""Rewards that add to the exact match what the digits' probabilities say, in the call of ``protocol.py``.

A response without an answer earns nothing by its digits, whatever those of its equations are.

``digit_accuracy`` and ``probability_quality`` need true digits; confidence alone, which two of these functions use,
says how sure the policy was, not how right.
"""

import math
from collections.abc import Mapping
from typing import Literal

from ntl_jax.records import NTLInfo
from ntl_jax.rewards.answers import answer_of
from ntl_jax.rewards.final_answer import (
    calculate_final_answer_confidence,
    calculate_final_answer_digit_accuracy,
    calculate_final_answer_prob_quality,
    mean_where,
)
from ntl_jax.rewards.functions import exact_match

ACCURACY_WEIGHT, CONFIDENCE_WEIGHT, QUALITY_WEIGHT = 0.4, 0.3, 0.3
HIGH_CONFIDENCE, HIGH_CONFIDENCE_FACTOR = -0.5, 1.1


def compute_ntl_bonus_all(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo,
    **kwargs: object,
) -> float:
    """``0.4 digit_accuracy + 0.3 confidence + 0.3 probability_quality`` over all digits with truth.

    0 where the response gives no answer.

    Args:
        ntl_info: record of this one sample.

    Example: ``#### 6`` where 5 was right, with three quarters on 6: 0.4 x 0 + 0.3 x 0.75 + 0.3 x 0.25
        >>> import numpy as np
        >>> from ntl_jax.numerals import find_answer, label_response
        >>> from ntl_jax.experience.digits.ntl_info import build_ntl_info
        >>> digits = np.full((2, 10), -30.0, np.float32); digits[1, 5:7] = np.log([0.25, 0.75])
        >>> label = label_response("#### 6", np.array([0, 5]), np.array([-1, 6]), "5", answer=find_answer("#### 6"))
        >>> info = build_ntl_info([digits], [label], ["#### 6"])
        >>> round(compute_ntl_bonus_all("gsm8k", "#### 6", "5", ntl_info=info), 4)
        0.3
    """
    if answer_of(solution_str, kwargs) is None:
        return 0.0
    return _weighted(
        ntl_info.digit_accuracy[0],
        mean_where(ntl_info.top_probability, ntl_info.has_truth)[0],
        ntl_info.probability_quality[0],
    )


def compute_ntl_bonus_final_answer(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo,
    **kwargs: object,
) -> float:
    """The same as `compute_ntl_bonus_all` over the final answer's digits, of which a response without one has none.

    Args:
        ntl_info: record of this one sample, of reward mode final_answer or hybrid.

    Example: see `compute_ntl_bonus_all`.
    """
    return _weighted(
        calculate_final_answer_digit_accuracy(ntl_info)[0],
        calculate_final_answer_confidence(ntl_info)[0],
        calculate_final_answer_prob_quality(ntl_info)[0],
    )


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo | None = None,
    use_ntl_bonus: bool = True,
    ntl_bonus_type: Literal["all", "final_answer"] = "all",
    ntl_bonus_weight: float = 0.1,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``EM + ntl_bonus_weight * bonus``; EM alone without a record or with ``use_ntl_bonus`` off.

    Args:
        ntl_info: record of this one sample, or None.
        use_ntl_bonus, ntl_bonus_type, ntl_bonus_weight: the ``reward`` section's.

    Example:
        >>> compute_score("gsm8k", "#### 72", "72")
        {'score': 1.0, 'exact_match': 1.0}
    """
    exact = exact_match(data_source, solution_str, ground_truth, correct=correct)
    if ntl_info is None or not use_ntl_bonus:
        return {"score": exact, "exact_match": exact}
    bonus_of = compute_ntl_bonus_all if ntl_bonus_type == "all" else compute_ntl_bonus_final_answer
    bonus = bonus_of(data_source, solution_str, ground_truth, extra_info, ntl_info=ntl_info, **kwargs)
    return {"score": exact + ntl_bonus_weight * bonus, "exact_match": exact, "ntl_bonus": bonus}


def compute_score_ntl_enhanced(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``0.6 EM + 0.25 digit_accuracy + 0.15 probability_quality``; 0 without an answer.

    Args:
        ntl_info: record of this one sample.

    Example: see `compute_ntl_bonus_all`.
    """
    exact = exact_match(data_source, solution_str, ground_truth, correct=correct)
    accuracy = quality = 0.0
    if answer_of(solution_str, kwargs) is not None:
        accuracy, quality = float(ntl_info.digit_accuracy[0]), float(ntl_info.probability_quality[0])
    return {
        "score": 0.6 * exact + 0.25 * accuracy + 0.15 * quality,
        "exact_match": exact,
        "digit_accuracy": accuracy,
        "probability_quality": quality,
    }


def compute_confidence_reward(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``EM (0.5 + 0.5 exp(avg_digit_log_prob))``: a right answer counts more, the surer the policy was of its digits.

    Args:
        ntl_info: record of this one sample.

    Example: see `compute_ntl_bonus_all`.
    """
    exact = exact_match(data_source, solution_str, ground_truth, correct=correct)
    certainty = math.exp(ntl_info.avg_digit_log_prob[0])
    return {"score": exact * (0.5 + 0.5 * certainty), "exact_match": exact, "certainty": certainty}


def compute_high_confidence_reward(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``1.1 EM`` where ``avg_digit_log_prob`` is above -0.5, else EM.

    Args:
        ntl_info: record of this one sample.

    Example: see `compute_ntl_bonus_all`.
    """
    exact = exact_match(data_source, solution_str, ground_truth, correct=correct)
    is_sure = bool(ntl_info.avg_digit_log_prob[0] > HIGH_CONFIDENCE)
    return {"score": exact * (HIGH_CONFIDENCE_FACTOR if is_sure else 1.0), "exact_match": exact, "is_sure": is_sure}


def _weighted(accuracy: float, confidence: float, quality: float) -> float:
    return float(ACCURACY_WEIGHT * accuracy + CONFIDENCE_WEIGHT * confidence + QUALITY_WEIGHT * quality)
