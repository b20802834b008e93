# SPDX-License-Identifier: Apache-2.0
"""Rewards for the closeness of the answer's value to the true number, in the `compute_score` call of ``protocol.py``.

They need neither NTL nor digit probabilities. Each lies in [0, 1]: 1 for a right answer; else 0 where the answer or the
true answer is no number. tau is ``ntl.temperature`` with NTL, else 1: the larger, the more forgiving.
The task says what the answer is and whether it is right (``answer``, ``correct``); without it, the text alone does. An
answer of the true value counts as right, also where the task asks for another form of it.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from ntl_jax.numerals import leading_digits_right, reference_number, relative_error
from ntl_jax.ops.arguments import check_positive
from ntl_jax.rewards.answers import answer_of
from ntl_jax.rewards.functions import exact_match


def absolute_closeness(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    tau: float = 1.0,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``exp(-|answer - truth| / tau)``: an answer that is off by tau gets 0.37, wherever it is.

    Args:
        tau: in units of the answer; above 0.

    Raises:
        ValueError: `tau` is not above 0.

    Example:
        >>> round(absolute_closeness("gsm8k", "#### 71", "72")["score"], 4)
        0.3679
    """
    check_positive(tau=tau)
    return _reward(
        solution_str,
        ground_truth,
        correct,
        kwargs,
        lambda answer, truth: _decay(abs(answer - truth) / Fraction(float(tau))),
    )


def relative_closeness(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    tau: float = 1.0,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``exp(-|answer - truth| / (tau |truth|))``; where 0 is true, every other answer gets 0.

    Args:
        tau: relative error for which 0.37 is left; above 0.

    Raises:
        ValueError: `tau` is not above 0.

    Example: 10% too much
        >>> round(relative_closeness("gsm8k", "#### 110", "100", tau=0.1)["score"], 4)
        0.3679
    """
    check_positive(tau=tau)
    return _reward(
        solution_str, ground_truth, correct, kwargs, lambda answer, truth: _decay(relative_error(answer, truth) / tau)
    )


def log_closeness(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    tau: float = 1.0,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """``exp(-|ln|answer| - ln|truth|| / tau)``, the smaller over the larger where tau is 1; 0 for a wrong sign.

    Half of the true number is as near as twice the number. Where 0 is true, every other answer gets 0.

    Args:
        tau: logarithm of the factor for which 0.37 is left; above 0.

    Raises:
        ValueError: `tau` is not above 0.

    Example:
        >>> [round(log_closeness("gsm8k", f"#### {x}", "100")["score"], 4) for x in (50, 200, 100, -100)]
        [0.5, 0.5, 1.0, 0.0]
    """
    check_positive(tau=tau)

    def closeness(answer: Fraction, truth: Fraction) -> float:
        if answer * truth <= 0:
            return 0.0
        ratio = min(abs(answer), abs(truth)) / max(abs(answer), abs(truth))
        return _decay((math.log(ratio.denominator) - math.log(ratio.numerator)) / tau)

    return _reward(solution_str, ground_truth, correct, kwargs, closeness)


def leading_digits(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, object] | None = None,
    *,
    correct: bool | None = None,
    **kwargs: object,
) -> dict[str, float]:
    """Share of the true number's digits that are right from the left: see `ntl_jax.numerals.leading_digits_right`.

    Example:
        >>> round(leading_digits("gsm8k", "#### 1,299", "1,272")["score"], 4)
        0.5
    """
    return _reward(solution_str, ground_truth, correct, kwargs, leading_digits_right)


def _reward(
    solution_str: str,
    ground_truth: str,
    correct: bool | None,
    extras: Mapping[str, object],
    closeness: Callable[[Fraction, Fraction], float],
) -> dict[str, float]:
    """The score with its parts, as other rewards call them."""
    exact = exact_match("", solution_str, ground_truth, correct=correct)
    answer, truth = answer_of(solution_str, extras), reference_number(ground_truth)
    near = exact
    if not exact and answer is not None and answer.value is not None and truth is not None and truth.value is not None:
        near = 1.0 if answer.value == truth.value else closeness(answer.value, truth.value)
    return {"score": near, "exact_match": exact, "closeness": near}


def _decay(distance: float | Fraction) -> float:
    try:
        return math.exp(-distance)
    except OverflowError:  # a fraction beyond what floats hold
        return 0.0
