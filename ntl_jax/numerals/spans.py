# SPDX-License-Identifier: Apache-2.0
r"""Numerals in text: which characters are the digits of which number.

A numeral is an optional sign (``-``, U+2212 or ``+``), ASCII digits with well-formed thousands commas (``1,234``; in
LaTeX also ``1{,}234``) and optional decimals. A currency sign on either side of the sign is stepped over, so is a
percent sign or full stop behind it. A minus that follows a letter, a digit or a closing bracket is an operator or a
hyphen. Other scripts' digits are not read. Answers may have more forms: see ``answers/reader.py``.

Every pattern is possessive or has one way to match, so that hostile text costs time linear in its length; no digits
are converted to integers, which Python refuses past 4,300 of them.
"""

import bisect
import dataclasses
import math
import re
from collections.abc import Iterator
from fractions import Fraction

from ntl_jax.numerals.answers.reader import Written
from ntl_jax.numerals.answers.tokens import CURRENCY, MINUS

_SIGN = "[-+\N{MINUS SIGN}]"
_DIGITS = r"(?:[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?"
UNSIGNED = rf"(?P<digits>{_DIGITS}|(?<![\w.])\.[0-9]++)"
_NUMERAL = re.compile(rf"(?:(?<![\w)\]}}])(?P<sign>{_SIGN}){CURRENCY}?)?{UNSIGNED}")
MOST_COMPUTED = 4_000
"""Digits of the longest number that has a value to compute with: Python refuses to read integers of more than 4,300."""


@dataclasses.dataclass(frozen=True)
class Numeral:
    """A number as it is written in a text.

    Args:
        digits: its digits as written, leading and trailing zeros included, commas and point left out.
        offsets: character offset of each digit in the text.
        num_integer: how many of the digits stand before the decimal point.
        negative: a minus sign stands before it.
        exact: the value of an answer written as a fraction, a power or with a word such as ``million``; ``digits`` is
            then empty, since its digits have no place value.

    Example:
        >>> (numeral,) = find_numerals("so -1,234.50 it is")
        >>> numeral.digits, numeral.offsets, numeral.num_integer, numeral.negative
        ('123450', (4, 6, 7, 8, 10, 11), 4, True)
        >>> numeral.places, numeral.canonical
        (range(3, -3, -1), '-1234.5')
        >>> numeral.value
        Fraction(-2469, 2)
    """

    digits: str
    offsets: tuple[int, ...]
    num_integer: int
    negative: bool
    exact: Fraction | None = None

    @property
    def places(self) -> range:
        """Power of ten of each digit: 0 for the units, -1 for the first decimal."""
        return range(self.num_integer - 1, self.num_integer - 1 - len(self.digits), -1)

    @property
    def canonical(self) -> str:
        """The canonical form, so that equal values are equal strings: no ``+``, idle zeros or ``-0``.

        A value with infinitely many decimals is a fraction in lowest terms.
        """
        if self.exact is not None:
            return _decimal(self.exact)
        integer = self.digits[: self.num_integer].lstrip("0") or "0"
        decimals = self.digits[self.num_integer :].rstrip("0")
        text = f"{integer}.{decimals}" if decimals else integer
        return f"-{text}" if self.negative and text != "0" else text

    @property
    def value(self) -> Fraction | None:
        """The value; None for a number of more than `MOST_COMPUTED` digits."""
        if self.exact is not None:
            return self.exact
        return Fraction(self.canonical) if len(self.digits) <= MOST_COMPUTED else None


def find_numerals(text: str, start: int = 0, end: int | None = None) -> Iterator[Numeral]:
    """The numerals of ``text[start:end]`` from left to right; offsets count from the start of ``text``.

    Example:
        >>> [n.canonical for n in find_numerals("12-5 = 7.0, not -$1,000")]
        ['12', '5', '7', '-1000']
    """
    return map(_signed, _NUMERAL.finditer(text, start, len(text) if end is None else end))


def read_numeral(match: re.Match[str], *, negative: bool) -> Numeral:
    """The numeral of a match of ``UNSIGNED``, with its sign."""
    return numeral_of(match.string, Written(*match.span("digits"), negative, None))


def numeral_of(text: str, written: Written) -> Numeral:
    """The numeral that stands at a position of a text."""
    if written.exact is not None:
        value = -written.exact if written.negative else written.exact
        return Numeral("", (), 0, value < 0, value)
    offsets = tuple(i for i in range(written.start, written.end) if text[i] in "0123456789")
    point = text.find(".", written.start, written.end)
    num_integer = len(offsets) if point < 0 else bisect.bisect(offsets, point)
    return Numeral("".join(text[i] for i in offsets), offsets, num_integer, written.negative)


def _signed(match: re.Match[str]) -> Numeral:
    return read_numeral(match, negative=match["sign"] in MINUS)


def _decimal(value: Fraction) -> str:
    """The value as a decimal if it has finitely many decimals, else as a fraction."""
    num_decimals, rest = 0, value.denominator
    while rest > 1 and (common := math.gcd(rest, 10)) > 1:
        num_decimals, rest = num_decimals + 1, rest // common
    if rest > 1:
        return str(value)
    units = str(abs(value.numerator) * 10**num_decimals // value.denominator).rjust(num_decimals + 1, "0")
    integer = units[: len(units) - num_decimals]
    text = f"{integer}.{units[len(integer) :]}" if num_decimals else integer
    return f"-{text}" if value < 0 else text
