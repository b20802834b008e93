# SPDX-License-Identifier: Apache-2.0
"""Which digit of a written number should have been which: alignment with the true number.

By place value, for measuring: units stand against units, decimals are counted from the point. A digit at a place that
the true number lacks is surplus, a place that the written one lacks is missing; a wrong sign counts as one missing
place. Idle zeros (in front, as in ``072``, or behind the point, as in ``72.0``) at places that the true number lacks
are neither: they change no value, so they cost nothing, and a policy cannot thin out its errors by writing more of
them.

By prefix, for the differentiable loss: from left to right up to and including the first wrong token, since what should
follow a wrong prefix is not defined. The k-th digit written stands against the k-th of the true number. It ends without
a truth where no digit is due: past the true number's end, or where one number has reached its point and the other has
not; with a wrong sign it never starts.

A token of several digits is aligned as a whole: its truth is the number that the true digits at its places make, a
place that the true number lacks being 0; it is surplus only if all of its places are.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from ntl_jax.numerals.spans import Numeral
from ntl_jax.numerals.tokens import MAX_TOKEN_DIGITS

NONE = -1


@dataclasses.dataclass(frozen=True)
class Alignment:
    """A written number's tokens against the true number; tuples run over the tokens, -1 where one has no truth.

    Args:
        truth: what the token should have been, by place value.
        surplus: none of the token's places occurs in the true number.
        missing_places: places of the true number that the written one lacks, and one for a wrong sign.
        prefix_truth: what the token should have been from left to right, up to and including the first wrong one.
    """

    truth: tuple[int, ...]
    surplus: tuple[bool, ...]
    missing_places: int
    prefix_truth: tuple[int, ...]


def align(written: Numeral | None, true: Numeral, widths: Sequence[int] | None = None) -> Alignment:
    """Aligns a written number with the true one, by place value and by prefix (see the module's description).

    Args:
        written: None if there is none, so that every place is missing.
        true: idle zeros in it are ignored.
        widths: how many digits each of the written number's tokens holds, from the left; by default one each.

    Example: 193 for 86: the hundreds are surplus; from the left, 8 was due first.
        >>> from ntl_jax.numerals import parse_numeral
        >>> align(parse_numeral("193"), parse_numeral("86"))
        Alignment(truth=(-1, 8, 6), surplus=(True, False, False), missing_places=0, prefix_truth=(8, -1, -1))
        >>> align(parse_numeral("-6"), parse_numeral("86")).missing_places
        2
        >>> align(parse_numeral("1234"), parse_numeral("534"), widths=(3, 1)).truth
        (53, 4)
    """
    canonical = true.canonical
    integer, _, decimals = canonical.lstrip("-").partition(".")
    if written is not None and written.digits == integer + decimals and written.canonical == canonical:
        return _agreement(written.digits, widths)
    true_digits = dict(zip(range(len(integer) - 1, -len(decimals) - 1, -1), integer + decimals, strict=True))
    if written is None:
        return Alignment((), (), len(true_digits), ())
    tokens = list(_slices([1] * len(written.digits) if widths is None else widths))
    wrong_sign = written.negative != true.negative and written.canonical != true.canonical
    unwritten = (0,) if integer == "0" else ()  # .5 is 0.5
    truth = tuple(_truth(written.places[token], true_digits) for token in tokens)
    idle = _idle_zeros(written)
    outside = [true_digits.keys().isdisjoint(written.places[token]) for token in tokens]
    return Alignment(
        truth=truth,
        surplus=tuple(out and not all(idle[token]) for out, token in zip(outside, tokens, strict=True)),
        missing_places=len(true_digits.keys() - {*written.places, *unwritten}) + wrong_sign,
        prefix_truth=(NONE,) * len(truth) if wrong_sign else _prefix_truth(written, tokens, integer, decimals),
    )


def _agreement(digits: str, widths: Sequence[int] | None) -> Alignment:
    """The alignment of a correct number without idle zeros."""
    tokens = [digits[token] for token in _slices([1] * len(digits) if widths is None else widths)]
    truth = tuple(int(token) if len(token) <= MAX_TOKEN_DIGITS else NONE for token in tokens)
    num_due = truth.index(NONE) if NONE in truth else len(truth)
    return Alignment(truth, (False,) * len(truth), 0, truth[:num_due] + (NONE,) * (len(truth) - num_due))


def _slices(widths: Sequence[int]) -> Iterator[slice]:
    ends = itertools.accumulate(widths, initial=0)
    return (slice(start, end) for start, end in itertools.pairwise(ends))


def _truth(places: range, true_digits: dict[int, str]) -> int:
    if true_digits.keys().isdisjoint(places) or len(places) > MAX_TOKEN_DIGITS:
        return NONE
    return int("".join(true_digits.get(place, "0") for place in places))


def _idle_zeros(numeral: Numeral) -> list[bool]:
    """Zeros in front of the point before any other digit, and behind the point after every other digit."""
    digits = numeral.digits
    first = min(len(digits) - len(digits.lstrip("0")), numeral.num_integer)
    last = max(len(digits.rstrip("0")), numeral.num_integer)
    return [k < first or k >= last for k in range(len(digits))]


def _prefix_truth(written: Numeral, tokens: list[slice], integer: str, decimals: str) -> tuple[int, ...]:
    due, truth = integer + decimals, [NONE] * len(tokens)
    for index, token in enumerate(tokens):
        is_decimal = token.start >= written.num_integer
        places_differ = (token.start >= len(integer)) != is_decimal or (token.stop > len(integer)) != is_decimal
        if token.stop > len(due) or places_differ or token.stop - token.start > MAX_TOKEN_DIGITS:
            break
        truth[index] = int(due[token])
        if written.digits[token] != due[token]:
            break
    return tuple(truth)
