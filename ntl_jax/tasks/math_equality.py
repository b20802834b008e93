# SPDX-License-Identifier: Apache-2.0
"""Whether two answers are mathematically equal, by math-verify: runs alone in a process of its own."""

from collections.abc import Mapping

from math_verify import parse, verify
from math_verify.errors import TimeoutException

TIMEOUT_S = 3
"""Of reading an answer and of comparing two, before the process itself is ended."""


def is_equal(data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, object]) -> float:
    """1 if the answers are equal, else 0; the call is that of a reward function.

    Args:
        solution_str, ground_truth: the answers, in LaTeX or plain.

    Raises:
        TimeoutError: if that takes too long.

    Example:
        >>> is_equal("", "\\\\frac{1}{2}", "0.5", {}), is_equal("", "1/3", "0.5", {})
        (1.0, 0.0)
    """
    try:  # a box is read as LaTeX even without dollars around it
        answer, reference = (
            parse(f"\\boxed{{{text}}}", parsing_timeout=TIMEOUT_S, raise_on_error=True)
            for text in (solution_str, ground_truth)
        )
        return float(verify(reference, answer, timeout_seconds=TIMEOUT_S, raise_on_error=True))
    except TimeoutException as error:  # no Exception, which would end the process
        raise TimeoutError(f"no result after {TIMEOUT_S} s") from error
