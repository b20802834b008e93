# SPDX-License-Identifier: Apache-2.0
"""How near one answer is to the true number. Numbers are exact fractions, so that no length of digits loses its last
ones."""

import math
from fractions import Fraction

MOST_PLACES = 12
"""Places on either side of the decimal point that are compared; no table shows more."""


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
    order = math.floor(math.log10(size.numerator) - math.log10(size.denominator))  # exact but for the last bits
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
    first = min(max(order_of_magnitude(truth) or 0, 0), MOST_PLACES)
    places = range(first, -_num_decimals(truth) - 1, -1)
    if answer is None:
        return dict.fromkeys(places, False)
    reached = order_of_magnitude(answer) or 0
    return {place: place <= max(reached, 0) and _digit(answer, place) == _digit(truth, place) for place in places}


def numeric_measures(answer: Fraction | None, truth: Fraction, *, is_right: bool) -> dict[str, float]:
    """What is measured of one answer, by name; those of digits have their place value in the name.

    Args:
        answer: the number that was given; None if none was.
        truth: the right one.
        is_right: whether the task says that it is right.

    Example:
        >>> measures = numeric_measures(Fraction(71), Fraction(72), is_right=False)
        >>> {name: round(value, 4) for name, value in measures.items()}  # doctest: +NORMALIZE_WHITESPACE
        {'answered': 1.0, 'exact_match': 0.0, 'smape': 0.007, 'median_relative_error': 0.0139,
         'order_of_magnitude': 1.0, 'digit/10': 1.0, 'digit/1': 0.0}
    """
    same_order = answer is not None and order_of_magnitude(answer) == order_of_magnitude(truth)
    return {
        "answered": float(answer is not None),
        "exact_match": float(is_right),
        "smape": symmetric_error(answer, truth),
        "median_relative_error": relative_error(answer, truth),
        "order_of_magnitude": float(same_order),
        **{f"digit/{_place_value(place)}": float(right) for place, right in digits_right(answer, truth).items()},
    }


def _num_decimals(number: Fraction) -> int:
    """Decimals that the number has; 0 if they are endless."""
    return next((n for n in range(MOST_PLACES + 1) if (number * 10**n).denominator == 1), 0)


def _digit(number: Fraction, place: int) -> int:
    return math.floor(abs(number) / Fraction(10) ** place) % 10


def _place_value(place: int) -> str:
    return f"0.{'1':>0{-place}}" if place < 0 else f"{10**place}"


def _float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
