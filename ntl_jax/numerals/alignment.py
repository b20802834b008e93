# SPDX-License-Identifier: Apache-2.0
"""Which digit of an answer should have been which: alignment of a response's answer with the reference.

By place value, for measuring: units stand against units, decimals are counted from the point. A digit at a place that
the reference lacks is surplus, a place that the answer lacks is missing; a wrong sign counts as one missing place.
Idle zeros (in front, as in ``072``, or behind the point, as in ``72.0``) at places that the reference lacks are
neither: they change no value, so they cost nothing, and a policy cannot thin out its errors by writing more of them.

By prefix, for the differentiable loss: from left to right up to and including the first wrong digit, since what should
follow a wrong prefix is not defined. The k-th digit written stands against the k-th of the reference. It ends without a
truth where no digit is due: past the reference's end, or where one number has reached its point and the other has not;
with a wrong sign it never starts.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from ntl_jax.numerals.spans import Numeral, find_answer, find_marked_answer, parse_numeral

_NONE = -1


@dataclasses.dataclass(frozen=True)
class Alignment:
    """An answer's digits against the reference's; tuples run over the answer's digits, -1 where a digit has no truth.

    Args:
        truth: the true digit by place value.
        surplus: the digit's place does not occur in the reference.
        missing_places: places of the reference that the answer lacks, and one for a wrong sign.
        prefix_truth: the true digit from left to right, up to and including the first wrong one.
    """

    truth: tuple[int, ...]
    surplus: tuple[bool, ...]
    missing_places: int
    prefix_truth: tuple[int, ...]


class DigitLabels(NamedTuple):
    """What every token of one response is and should have been, as far as digits go.

    Args:
        digits: the digit that the token is, -1 for other tokens.
        truth: the digit that should stand there, by place value; -1 where there is no truth.
        surplus: a digit of the answer at a place that the reference lacks.
        missing_places: places of the reference that the answer lacks, and one for a wrong sign.
        prefix_truth: the digit that was due there given the response so far; -1 where none was.
    """

    digits: Int[np.ndarray, "T"]
    truth: Int[np.ndarray, "T"]
    surplus: Bool[np.ndarray, "T"]
    missing_places: int
    prefix_truth: Int[np.ndarray, "T"]


def align_final_answer(answer: Numeral | None, reference: Numeral) -> Alignment:
    """Aligns an answer with the reference, by place value and by prefix (see the module's description).

    Args:
        answer: the response's answer; None if it has none, so that every place of the reference is missing.
        reference: the true answer; idle zeros in it are ignored.

    Example: 193 for 86: the hundreds are surplus; from the left, 8 was due first.
        >>> align_final_answer(parse_numeral("193"), parse_numeral("86"))
        Alignment(truth=(-1, 8, 6), surplus=(True, False, False), missing_places=0, prefix_truth=(8, -1, -1))
        >>> align_final_answer(parse_numeral("-6"), parse_numeral("86")).missing_places
        2
    """
    integer, _, decimals = reference.canonical.lstrip("-").partition(".")
    true_digits = dict(zip(range(len(integer) - 1, -len(decimals) - 1, -1), map(int, integer + decimals), strict=True))
    if answer is None:
        return Alignment((), (), len(true_digits), ())
    wrong_sign = answer.negative != reference.negative and answer.canonical != reference.canonical
    unwritten = (0,) if integer == "0" else ()  # .5 is 0.5
    truth = tuple(true_digits.get(place, _NONE) for place in answer.places)
    idle = _idle_zeros(answer)
    return Alignment(
        truth=truth,
        surplus=tuple(true == _NONE and not zero for true, zero in zip(truth, idle, strict=True)),
        missing_places=len(true_digits.keys() - {*answer.places, *unwritten}) + wrong_sign,
        prefix_truth=(_NONE,) * len(truth) if wrong_sign else _prefix_truth(answer, integer, decimals),
    )


def label_final_answer(
    text: str, starts: Int[np.ndarray, "T"], digits: Int[np.ndarray, "T"], reference: str
) -> DigitLabels:
    """Finds a response's answer and labels its digit tokens with what they should have been.

    Any answer is measured by place value; prefix truth is given to a marked one only, since the last number of a
    response without a marker (one that was cut off, say) may belong to a step, whose digits must not be pulled away.

    Args:
        text: the response; with ``starts``, the first character of each token's, as `TokenDecoder` returns them.
        digits: the digit that each token is, -1 for other tokens, as `sampled_digits` returns them. Digits in longer
            tokens get no truth; their places do not count as missing.
        reference: the true answer.

    Returns:
        The labels of all T tokens.

    Raises:
        ValueError: ``reference`` holds no number.

    Example:
        >>> labels = label_final_answer("#### 76", np.array([0, 4, 6, 7]), np.array([-1, 7, 6, -1]), "72")
        >>> labels.truth.tolist(), labels.missing_places
        ([-1, 7, 2, -1], 0)
    """
    answer = find_answer(text)
    alignment = align_final_answer(answer, parse_numeral(reference))
    offsets = answer.offsets if answer else ()
    tokens = np.searchsorted(starts, np.asarray(offsets, np.int64), side="right") - 1
    rows = np.full((3, len(digits)), _NONE, np.int8)
    rows[:, tokens] = alignment.truth, alignment.prefix_truth, alignment.surplus
    if find_marked_answer(text) is None:
        rows[1] = _NONE
    truth, prefix_truth, surplus = np.where(digits >= 0, rows, np.int8(_NONE))
    return DigitLabels(digits, truth, surplus == 1, alignment.missing_places, prefix_truth)


def _idle_zeros(numeral: Numeral) -> list[bool]:
    """Zeros in front of the point before any other digit, and behind the point after every other digit."""
    digits = numeral.digits
    first = min(len(digits) - len(digits.lstrip("0")), numeral.num_integer)
    last = max(len(digits.rstrip("0")), numeral.num_integer)
    return [k < first or k >= last for k in range(len(digits))]


def _prefix_truth(answer: Numeral, integer: str, decimals: str) -> tuple[int, ...]:
    due, truth = integer + decimals, [_NONE] * len(answer.digits)
    for k, written in enumerate(answer.digits):
        if k >= len(due) or (k < answer.num_integer) != (k < len(integer)):
            break
        truth[k] = int(due[k])
        if written != due[k]:
            break
    return tuple(truth)
