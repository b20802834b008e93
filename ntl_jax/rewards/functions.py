# SPDX-License-Identifier: Apache-2.0
"""The reward functions that come with the package, in the `compute_score` call of ``protocol.py``.

EM is 1 where the answer is exactly right, else 0: ``correct`` where the call brings it, else read off the text. tau is
``ntl.temperature``; ``ntl_info`` is the sample's own row of the batch's `NTLInfo`. Other keys than ``score`` become
metrics.
"""

import math
from collections.abc import Mapping

from ntl_jax.ops.arguments import check_positive
from ntl_jax.records import NTLInfo
from ntl_jax.rewards.answers import is_correct

EXACT_WEIGHT = 0.5


def exact_match(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    correct: bool | None = None,
    **kwargs: object,
) -> float:
    """EM: 1 where the answer is exactly right, else 0.

    Args:
        correct: whether it is, as the trainer's task judged; None: judged here, by `is_correct`.

    Example:
        >>> exact_match("gsm8k", "#### 72", "72"), exact_match("gsm8k", "#### 71", "72")
        (1.0, 0.0)
        >>> exact_match("capitals", "#### Paris", "Paris"), exact_match("mine", "it is C", "C", correct=True)
        (1.0, 1.0)
    """
    return float(is_correct(solution_str, ground_truth) if correct is None else correct)


def ntl_reward(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo,
    tau: float = 1.0,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``0.5 EM + 0.5 exp(-ntl_loss / tau)``: partial credit for digits that were nearly right.

    A response without an answer has infinite loss and gets no partial credit.

    Args:
        ntl_info: record of this one sample.
        tau: the larger, the more forgiving; above 0.

    Raises:
        ValueError: `tau` is not above 0.

    Example: ``#### 6`` where 5 was right, by a policy sure of its 6, costs a squared error of 1: 0.5 exp(-1).
        >>> import numpy as np
        >>> from ntl_jax.numerals import find_answer, label_response
        >>> from ntl_jax.experience.digits.ntl_info import build_ntl_info
        >>> digits = np.full((2, 10), -30.0, np.float32); digits[1, 6] = 0.0
        >>> label = label_response("#### 6", np.array([0, 5]), np.array([-1, 6]), "5", answer=find_answer("#### 6"))
        >>> info = build_ntl_info([digits], [label], ["#### 6"])
        >>> round(ntl_reward("gsm8k", "#### 6", "5", ntl_info=info)["score"], 4)
        0.1839
    """
    check_positive(tau=tau)
    exact = exact_match(data_source, solution_str, ground_truth, correct=correct)
    closeness = math.exp(-float(ntl_info.ntl_loss[0]) / tau)
    return {
        "score": EXACT_WEIGHT * exact + (1 - EXACT_WEIGHT) * closeness,
        "exact_match": exact,
        "closeness": closeness,
    }


def ntl_gated_reward(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo,
    tau: float = 1.0,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``EM exp(-ntl_loss / tau)``: nothing for a wrong answer, and for a right one what its digits' certainty is worth.

    Args:
        ntl_info: record of this one sample.
        tau: the larger, the more forgiving; above 0.

    Raises:
        ValueError: `tau` is not above 0.

    Example: see `ntl_reward`.
    """
    check_positive(tau=tau)
    exact = exact_match(data_source, solution_str, ground_truth, correct=correct)
    closeness = math.exp(-float(ntl_info.ntl_loss[0]) / tau)
    return {"score": exact * closeness, "exact_match": exact, "closeness": closeness}


def compute_full_ntl_reward(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    ntl_info: NTLInfo,
    **kwargs: object,
) -> float:
    """``exp(-ntl_loss)``, whether the answer is correct or not; 0 for a response without an answer.

    Args:
        ntl_info: record of this one sample.

    Example: see `ntl_reward`.
    """
    return math.exp(-float(ntl_info.ntl_loss[0]))
