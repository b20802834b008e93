# SPDX-License-Identifier: Apache-2.0
"""What every number token of a response should have been: the answer's, by the reference; a result's, by its equation.

The modes: ``final_answer``, ``all_tokens`` (the results of all equations), ``hybrid`` (both; where the answer is itself
an equation's result, the reference decides). Other numbers have no truth. An answer
or a reference that is written as a fraction or a power has no truth either, since its digits have no place value, and
the answer has none where the reference is a text such as ``Paris``.

"No truth" is -1 (`NONE`) in integers, here and in every record; only a loss on the device takes NaN targets, which
`number_targets` makes of them.
"""

import bisect
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ntl_jax.numerals.alignment import NONE, align
from ntl_jax.numerals.answers.answer import DEFAULT_MARKERS, Answer, AnswerMarkers, reference_number
from ntl_jax.numerals.equations.finder import find_equations
from ntl_jax.numerals.spans import Numeral

Mode = Literal["final_answer", "all_tokens", "hybrid"]


class DigitLabels(NamedTuple):
    """What every token of one response is and should have been, as far as numbers go.

    Args:
        digits: the digit (or number, where tokens hold several digits) that the token is, -1 for other tokens.
        truth: what should stand there, by place value; -1 where there is no truth.
        surplus: the token's places do not occur in the true number.
        missing_places: places of the true numbers that the written ones lack, and one for a wrong sign.
        prefix_truth: what was due there given the response so far; -1 where nothing was.
        is_answer: the token belongs to the final answer.
        missing_answer_places: those of ``missing_places`` that are the final answer's.
        has_answer: whether the response gives an answer, which is a number if the reference is one; without it there is
            no NTL reward.
    """

    digits: Int[np.ndarray, "T"]
    truth: Int[np.ndarray, "T"]
    surplus: Bool[np.ndarray, "T"]
    missing_places: int
    prefix_truth: Int[np.ndarray, "T"]
    is_answer: Bool[np.ndarray, "T"]
    missing_answer_places: int
    has_answer: bool = True


class _Target(NamedTuple):
    """A number of the response with the true one; not pulled: measured, but without prefix truth."""

    written: Numeral | None
    true: Numeral
    pulled: bool
    is_answer: bool


def label_response(
    text: str,
    starts: Int[np.ndarray, "T"],
    digits: Int[np.ndarray, "T"],
    reference: str,
    *,
    answer: Answer | None,
    mode: Mode = "final_answer",
    markers: AnswerMarkers = DEFAULT_MARKERS,
) -> DigitLabels:
    """Labels a response's number tokens with what they should have been.

    Any answer is measured by place value. Prefix truth is given only to an answer that is marked, or that stands in
    the response without another word or number. Any other last number (of a response that was cut off, say) may belong
    to a step, whose digits must not be pulled away.

    Args:
        text: the response; with ``starts``, the first character of each token's, as `TokenDecoder` returns them.
        digits: the number that each token is, -1 for other tokens, as `sampled_numbers` returns them. Digits in tokens
            that are no number tokens get no truth; their places do not count as missing.
        reference: the true answer.
        answer: of the response, as `find_answer` or `find_text_answer` read it.
        mode: which numbers have a truth.
        markers: how a reference that is a whole solution marks its answer.

    Returns:
        The labels of all T tokens.

    Example:
        >>> from ntl_jax.numerals import find_answer
        >>> text, starts, digits = "#### 76", np.array([0, 4, 6, 7]), np.array([-1, 7, 6, -1])
        >>> labels = label_response(text, starts, digits, "72", answer=find_answer(text))
        >>> labels.truth.tolist(), labels.missing_places
        ([-1, 7, 2, -1], 0)
        >>> label_response(text, starts, digits, "Paris", answer=find_answer(text)).truth.tolist()
        [-1, -1, -1, -1]
    """
    truth, prefix_truth, surplus = ([NONE] * len(digits) for _ in range(3))
    token_starts = starts.tolist()
    is_answer = np.zeros(len(digits), bool)
    missing = {True: 0, False: 0}  # by whether they are the answer's
    true, written = reference_number(reference, markers), answer.numeral if answer else None
    for target in _targets(text, answer, true, mode):
        tokens, widths = _tokens_of(target.written, token_starts)
        alignment = align(target.written, target.true, widths)
        for k, token in enumerate(tokens):
            truth[token], surplus[token] = alignment.truth[k], alignment.surplus[k]
            if target.pulled:
                prefix_truth[token] = alignment.prefix_truth[k]
        missing[target.is_answer] += alignment.missing_places
    is_answer[_tokens_of(written, token_starts)[0]] = True
    rows = np.array([truth, prefix_truth, surplus], np.int32)
    no_number = digits < 0
    rows[:, no_number], is_answer[no_number] = NONE, False
    return DigitLabels(
        digits=digits,
        truth=rows[0],
        surplus=rows[2] == 1,
        missing_places=sum(missing.values()),
        prefix_truth=rows[1],
        is_answer=is_answer,
        missing_answer_places=missing[True],
        has_answer=answer is not None and (written is not None or true is None),
    )


def number_targets(truth: Int[np.ndarray, "*tokens"]) -> Float[np.ndarray, "*tokens"]:
    """The targets of the number losses, float32: the truth, and NaN where a token has none.

    Example:
        >>> number_targets(np.array([-1, 7, 2])).tolist()
        [nan, 7.0, 2.0]
    """
    return np.where(truth == NONE, np.float32(np.nan), truth.astype(np.float32))


def _targets(text: str, answer: Answer | None, true: Numeral | None, mode: Mode) -> Iterator[_Target]:
    written = answer.numeral if answer else None
    if mode != "final_answer":
        for result, computed in find_equations(text):
            if mode == "all_tokens" or written is None or result.offsets != written.offsets:
                yield _Target(result, computed, pulled=True, is_answer=False)
    if mode != "all_tokens" and true is not None and all(x is None or x.exact is None for x in (true, written)):
        yield _Target(written, true, pulled=_is_certain(text, answer), is_answer=True)


def _is_certain(text: str, answer: Answer | None) -> bool:
    """Whether no step's number can have been read as the answer."""
    if answer is None or answer.marked:
        return answer is not None
    return not any(map(str.isalnum, text[: answer.start] + text[answer.end :]))


def _tokens_of(numeral: Numeral | None, starts: list[int]) -> tuple[list[int], list[int]]:
    """The tokens that wrote a numeral's digits, and how many each."""
    if numeral is None:
        return [], []
    tokens = [bisect.bisect_right(starts, offset) - 1 for offset in numeral.offsets]
    widths = dict.fromkeys(tokens, 0)  # in the order of the digits
    for token in tokens:
        widths[token] += 1
    return list(widths), list(widths.values())
