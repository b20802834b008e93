# SPDX-License-Identifier: Apache-2.0
"""The reward functions that come with the package, in the `compute_score` call of ``protocol.py``.

EM is 1 where the answer is exactly right, else 0; tau is ``ntl.temperature``; ``ntl_info`` is the sample's own row of
the batch's `NTLInfo`. Other keys than ``score`` become metrics.
"""

import math
from collections.abc import Mapping
from typing import Any

from ntl_jax.records import NTLInfo
from ntl_jax.rewards.answers import is_correct

EXACT_WEIGHT = 0.5


def exact_match(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> float:
    """EM: 1 where the answer is exactly right, else 0.

    Example:
        >>> exact_match("gsm8k", "#### 72", "72"), exact_match("gsm8k", "#### 71", "72")
        (1.0, 0.0)
    """
    return float(is_correct(solution_str, ground_truth))


def ntl_reward(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    ntl_info: NTLInfo,
    tau: float = 1.0,
    **kwargs: Any,
) -> dict[str, float]:
    """``0.5 EM + 0.5 exp(-ntl_loss / tau)``: partial credit for digits that were nearly right.

    A response without a number, whose loss is infinite, gets no partial credit.

    Args:
        ntl_info: record of this one sample.
        tau: the larger, the more forgiving; above 0.

    Example: ``#### 6`` where 5 was right, by a policy sure of its 6, costs a squared error of 1: 0.5 exp(-1).
        >>> import numpy as np
        >>> digits = np.full((1, 1, 10), -30.0, np.float32); digits[0, 0, 6] = 0.0
        >>> info = NTLInfo(digits, np.ones((1, 1), bool), np.array([[5]]), np.zeros((1, 1), bool), np.array([0]),
        ...                np.zeros((1, 1), np.float32), np.array([1.0]), ("#### 6",), "mse")
        >>> round(ntl_reward("gsm8k", "#### 6", "5", ntl_info=info)["score"], 4)
        0.1839
    """
    exact = exact_match(data_source, solution_str, ground_truth)
    closeness = math.exp(-float(ntl_info.ntl_loss[0]) / tau)
    return {
        "score": EXACT_WEIGHT * exact + (1 - EXACT_WEIGHT) * closeness,
        "exact_match": exact,
        "closeness": closeness,
    }
