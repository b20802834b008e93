# SPDX-License-Identifier: Apache-2.0
"""The answer of a response as text, and whether it is right."""

from collections.abc import Mapping

from ntl_jax.numerals import Answer, agrees, find_answer, find_text_answer


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
    return answer.text if answer else None


def is_correct(solution_str: str, ground_truth: str) -> bool:
    """Whether a response's answer has exactly the value of the true one, or its text if that is not one number.

    Args:
        solution_str: the response.
        ground_truth: the true answer, or a reference solution that marks it with ``####`` or a box. A numeral or a
            fraction, with or without units, is compared by value; anything else, such as ``Paris`` or ``3:30``, must be
            exactly what the response marks, white space aside.

    Raises:
        ValueError: ``ground_truth`` is blank.

    Example:
        >>> is_correct("#### 72.0", "72"), is_correct("about 71", "72")
        (True, False)
        >>> is_correct("so 0.5", "1/2"), is_correct("#### 2/3", "2")
        (True, False)
        >>> is_correct("#### Paris", "Paris"), is_correct("It is Paris", "Paris")
        (True, False)
    """
    return agrees(find_text_answer(solution_str), ground_truth)


def answer_of(solution_str: str, extras: Mapping[str, object]) -> Answer | None:
    """The answer that the call of a reward function brings along, else the number that the response gives.

    Args:
        solution_str: the response.
        extras: the call's keyword arguments beyond verl's four; an ``answer`` of None says that there is none.

    Example:
        >>> answer_of("#### 72", {}).text, answer_of("#### 72", {"answer": None}) is None
        ('72', True)
    """
    if "answer" not in extras:
        return find_answer(solution_str)
    answer = extras["answer"]
    assert answer is None or isinstance(answer, Answer), answer
    return answer
