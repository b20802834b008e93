# SPDX-License-Identifier: Apache-2.0
"""How near an answer is to the true number. Numbers are exact fractions, so that no digit is lost in long ones."""

import itertools
import math
from fractions import Fraction

MOST_DECIMALS = 12
"""A number with more decimals counts as one with endlessly many."""


def relative_error(answer: Fraction | None, truth: Fraction) -> float:
    """``|answer - truth| / |truth|``; infinite without an answer, and for another answer than 0 where 0 is true.

    Example:
        >>> relative_error(Fraction(71), Fraction(72)).__round__(4), relative_error(None, Fraction(72))
        (0.0139, inf)
    """
    if answer == truth:
        return 0.0
    if answer is None or truth == 0:
        return math.inf
    return _float(abs((answer - truth) / truth))


def symmetric_error(answer: Fraction | None, truth: Fraction) -> float:
    """``|answer - truth| / (|answer| + |truth|)``, in [0, 1]; 1 without an answer and for a wrong sign.

    The symmetric error of forecasting, without its factor of 2 (Flores, 1986,
    https://doi.org/10.1016/0305-0483(86)90013-7), as in `ntl_jax.losses.numeral_smape`. Its mean is sMAPE.

    Example: 1/143
        >>> round(symmetric_error(Fraction(71), Fraction(72)), 4), symmetric_error(Fraction(-5), Fraction(5))
        (0.007, 1.0)
    """
    if answer == truth:
        return 0.0
    return 1.0 if answer is None else _float(abs(answer - truth) / (abs(answer) + abs(truth)))


def order_of_magnitude(number: Fraction) -> int | None:
    """The place of the first digit other than 0: 0 for the units, 1 for the tens, -1 for tenths; None for 0.

    Example:
        >>> [order_of_magnitude(Fraction(text)) for text in ("-999", "1000", "0.02", "0")]
        [2, 3, -2, None]
    """
    if number == 0:
        return None
    size = abs(number)
    order = math.floor(math.log10(size.numerator) - math.log10(size.denominator))  # rounding may move it by one
    if size < Fraction(10) ** order:
        return order - 1
    return order if size < Fraction(10) ** (order + 1) else order + 1


def digits_right(answer: Fraction | None, truth: Fraction) -> dict[int, bool]:
    """Whether each digit of the true number is right, by place: 0 for the units, 1 for the tens, -1 for tenths.

    Places are aligned at the decimal point, and signs are ignored. A place that the answer does not reach is wrong,
    even where a 0 is true. A number with endless decimals has no digits here but those before the point.

    Example: of 105, the answer 5 has the units alone; 195 has all but the tens
        >>> digits_right(Fraction(5), Fraction(105)), digits_right(Fraction(195), Fraction(105))
        ({2: False, 1: False, 0: True}, {2: True, 1: False, 0: True})
    """
    places = range(max(order_of_magnitude(truth) or 0, 0), -_num_decimals(truth) - 1, -1)
    if answer is None:
        return dict.fromkeys(places, False)
    reached = order_of_magnitude(answer) or 0
    return {place: place <= max(reached, 0) and _digit(answer, place) == _digit(truth, place) for place in places}


def leading_digits_right(answer: Fraction | None, truth: Fraction) -> float:
    """Share of the true number's significant digits that are right, from the left up to the first wrong one; in [0, 1].

    0 for a wrong sign or order of magnitude. An answer that is right in all of them and goes on gets less than 1.

    Example:
        >>> [leading_digits_right(Fraction(x), Fraction(123)) for x in ("129", "1230", "-123", "123.5", "123")]
        [0.6666666666666666, 0.0, 0.0, 0.75, 1.0]
    """
    if answer == truth:
        return 1.0
    if answer is None or answer * truth < 0 or order_of_magnitude(answer) != (order := order_of_magnitude(truth)):
        return 0.0
    right = [is_right for place, is_right in digits_right(answer, truth).items() if order is None or place <= order]
    count = len(list(itertools.takewhile(bool, right)))
    return count / (len(right) + (count == len(right)))


def _num_decimals(number: Fraction) -> int:
    """Decimals that the number has; 0 if they are endless."""
    return next((n for n in range(MOST_DECIMALS + 1) if (number * 10**n).denominator == 1), 0)


def _digit(number: Fraction, place: int) -> int:
    return math.floor(abs(number) / Fraction(10) ** place) % 10


def _float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
