# SPDX-License-Identifier: Apache-2.0
"""What a result should have been, given the value of its expression.

A value with more decimals than `MAX_DECIMALS`, or with infinitely many, is rounded to the number of decimals of the
written result.
"""

from fractions import Fraction

from ntl_jax.numerals.spans import Numeral

MAX_DECIMALS = 6
SAME = 10**9
"""A result is contradicted where it is away from the value by more than one part in as many."""


def rounded(value: int | Fraction, num_decimals: int) -> int | Fraction:
    """The exact value if it has few decimals, else rounded to ``num_decimals``, halves away from zero.

    Example:
        >>> rounded(Fraction(1, 8), 2), rounded(Fraction(-2, 3), 2)
        (Fraction(1, 8), Fraction(-67, 100))
    """
    if isinstance(value, int) or not has_many_decimals(value):
        return value
    units = int(abs(value) * 10**num_decimals + Fraction(1, 2))
    return Fraction(units if value > 0 else -units, 10**num_decimals)


def has_many_decimals(value: int | Fraction) -> bool:
    """Whether a value cannot be written with `MAX_DECIMALS` decimals."""
    return 10**MAX_DECIMALS % value.denominator != 0


def is_same(value: int | Fraction, written: int | Fraction) -> bool:
    """Whether a written result equals the value up to floating-point error."""
    return abs(value - written) * SAME <= abs(value)


def is_rounded(value: int | Fraction, written: int | Fraction, num_decimals: int) -> bool:
    """Whether a written result is the value rounded to its decimals, halves up or down: 15% of $32.50 = $4.88."""
    return abs(value - written) * 2 * 10**num_decimals <= 1


def is_cut_off(value: int | Fraction, written: int | Fraction) -> bool:
    """Whether an integer result may be a quotient rounded down or up: 50/3 = 16 full boxes."""
    return written.denominator == 1 and value.denominator != 1 and abs(value - written) < 1


def numeral_of(value: int | Fraction) -> Numeral:
    """A rounded value as a numeral that is not part of a text.

    Example:
        >>> numeral_of(Fraction(-5, 4)).canonical
        '-1.25'
    """
    num_decimals = 0
    numerator, denominator = abs(value.numerator), value.denominator
    while numerator % denominator:
        numerator, num_decimals = numerator * 10, num_decimals + 1
    digits = str(numerator // denominator).rjust(num_decimals + 1, "0")
    return Numeral(digits, tuple(range(len(digits))), len(digits) - num_decimals, value < 0)
