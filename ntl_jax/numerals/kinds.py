# SPDX-License-Identifier: Apache-2.0
"""Kinds of response tokens: digits of the answer, other digits, operators, and everything else."""

import numpy as np
from jaxtyping import Int

from ntl_jax.numerals.answers.answer import Answer

KINDS = ("answer_digits", "digits", "operators", "other")
"""Names of the kinds; a token's kind is an index into them."""
OPERATORS = frozenset("+-*/=×÷·−<>^%") | {"**", "==", "<=", ">=", "<<", ">>", "\\times", "\\cdot", "\\div"}


def token_kinds(
    text: str, starts: Int[np.ndarray, "T"], numbers: Int[np.ndarray, "T"], answer: Answer | None
) -> Int[np.ndarray, "T"]:
    """The kind of each token of a response.

    Args:
        text, starts: the response and the first character of each token, as `TokenDecoder` returns them.
        numbers: the number that each token is, -1 for other tokens, as `sampled_numbers` returns them.
        answer: the response's answer; None if it gives none.

    Returns:
        [T] int8, indices into `KINDS`.

    Example:
        >>> from ntl_jax.numerals import find_answer
        >>> text = "3+4 is 7"
        >>> kinds = token_kinds(text, np.arange(8), np.array([3, -1, 4, -1, -1, -1, -1, 7]), find_answer(text))
        >>> [KINDS[kind] for kind in kinds[[0, 1, 3, 7]]]
        ['digits', 'operators', 'other', 'answer_digits']
    """
    other, digits, of_answer = KINDS.index("other"), KINDS.index("digits"), KINDS.index("answer_digits")
    kinds = np.where(numbers >= 0, digits, other).astype(np.int8)
    if answer is not None:
        kinds[(numbers >= 0) & (starts >= answer.start) & (starts < answer.end)] = of_answer
    ends = [*starts[1:].tolist(), len(text)]
    for t in np.flatnonzero(numbers < 0).tolist():
        if text[starts[t] : ends[t]].strip() in OPERATORS:
            kinds[t] = KINDS.index("operators")
    return kinds
