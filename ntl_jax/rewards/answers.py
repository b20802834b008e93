# SPDX-License-Identifier: Apache-2.0
"""The answer of a response as text, and whether it is right."""

from ntl_jax.numerals import find_answer, parse_numeral


def extract_answer(text: str) -> str | None:
    """The number a response gives as its answer, written in the one canonical way; None if it gives none.

    ``####`` first, then ``\\boxed{}``, then the last number; see `ntl_jax.numerals.find_answer`. Text there that is not
    one number, such as ``5-7``, is not an answer.

    Example:
        >>> extract_answer("so she pays\\n#### $1,272.00.")
        '1272'
        >>> extract_answer("#### 2/3"), extract_answer("#### 1.5e3"), extract_answer("#### 3:30")
        ('2/3', '1500', None)
    """
    answer = find_answer(text)
    return answer.canonical if answer else None


def is_correct(solution_str: str, ground_truth: str) -> bool:
    """Whether a response's answer has exactly the value of the true one.

    Args:
        solution_str: the response.
        ground_truth: the true answer, a numeral or a fraction, or a reference solution that marks it with ``####`` or a
            box.

    Raises:
        ValueError: ``ground_truth`` is not one number.

    Example:
        >>> is_correct("#### 72.0", "72"), is_correct("about 71", "72")
        (True, False)
        >>> is_correct("so 0.5", "1/2"), is_correct("#### 2/3", "2")
        (True, False)
    """
    true = parse_numeral(ground_truth).canonical
    return extract_answer(solution_str) == true
