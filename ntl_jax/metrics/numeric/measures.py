# SPDX-License-Identifier: Apache-2.0
"""What is measured of one answer."""

from fractions import Fraction

from ntl_jax.numerals import digits_right, order_of_magnitude, relative_error, symmetric_error

MOST_PLACES = 12
"""Places on either side of the decimal point that are measured."""


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
    right = {place: r for place, r in digits_right(answer, truth).items() if abs(place) <= MOST_PLACES}
    same_order = answer is not None and order_of_magnitude(answer) == order_of_magnitude(truth)
    return {
        "answered": float(answer is not None),
        "exact_match": float(is_right),
        "smape": symmetric_error(answer, truth),
        "median_relative_error": relative_error(answer, truth),
        "order_of_magnitude": float(same_order),
        **{f"digit/{_place_value(place)}": float(is_digit) for place, is_digit in right.items()},
    }


def _place_value(place: int) -> str:
    return f"0.{'1':>0{-place}}" if place < 0 else f"{10**place}"
