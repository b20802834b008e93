# SPDX-License-Identifier: Apache-2.0
"""Exact values of expressions.

Products precede sums, and both are evaluated from left to right. Fraction bars and brackets group. A percentage is
divided by 100; the sum of a percentage and a plain number has no value (``100 + 20%`` could mean 120). Numbers are
integers and fractions; nothing is rounded, and no text is passed to Python's ``eval``.

Hostile text costs linear time: expressions that exceed the limits below on tokens, digits or bits have no value.
"""

import functools
import re
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 18
MAX_TOKENS = 48
MAX_BITS = 256
KEPT = 4096
"""Numerals, and kinds of expressions, of which what depends on them alone is remembered."""

_SUMS = {"+": 1, "a": 1, "P": 1, "-": -1, "s": -1, "e": -1, "M": -1}
_PRODUCTS = frozenset("*mjTf")
_QUOTIENTS = frozenset("/dD")
_MINUS = frozenset("-s")
_LEADING_ZERO = re.compile(r"0[0-9]")  # 0900 is a time of day


class Value(NamedTuple):
    """A number, and whether it was written as a percentage."""

    number: int | Fraction
    is_percent: bool


class _NoValue(Exception):
    """The tokens are not an expression, or exceed the limits."""


def evaluate(kinds: str, numerals: list[str]) -> Value | None:
    """The value of an expression; None if it has none.

    Args:
        kinds: the kinds of its tokens (`ntl_jax.numerals.equations.lexer`), without words.
        numerals: the numerals as written, from left to right.

    Example:
        >>> evaluate("n-n/n", ["2", "1", "3"])
        Value(number=Fraction(5, 3), is_percent=False)
    """
    if kinds[0] == "(":
        kinds = kinds[_num_open(kinds) :]
    if len(kinds) > MAX_TOKENS:
        return None
    try:
        return _Parser(kinds, numerals).parse()
    except (_NoValue, ZeroDivisionError):
        return None


def _num_open(kinds: str) -> int:
    """How many brackets at an expression's start close after it: those around the whole equation."""
    num_leading = len(kinds) - len(kinds.lstrip("("))
    return max(0, min(num_leading, kinds.count("(") - kinds.count(")") - kinds.count("E")))


@functools.lru_cache(KEPT)
def number_of(written: str) -> int | Fraction | None:
    """The value of an unsigned numeral; None if it is too long, or is more likely a name than a number."""
    if not written.isdigit():
        written = written.replace("{,}", "").replace(",", "")
    if len(written) > MAX_DIGITS or (written[0] == "0" and _LEADING_ZERO.match(written)):
        return None
    integer, point, decimals = written.partition(".")
    return _quotient(int(integer + decimals), 10 ** len(decimals)) if point else int(integer)


def _quotient(numerator: int | Fraction, denominator: int | Fraction) -> int | Fraction:
    """Converts whole fractions to integers, which are many times faster."""
    quotient = Fraction(numerator, denominator)
    return quotient.numerator if quotient.denominator == 1 else quotient


class _Parser:
    """Recursive descent: sum = product (+- product)*, product = factor (*/ factor)*, factor = -factor | atom %*.

    Every rule returns a number and whether it was written as a percentage.
    """

    def __init__(self, kinds: str, numerals: list[str]) -> None:
        self._kinds = kinds + "."
        self._numerals = numerals[::-1]
        self._at = 0

    def parse(self) -> Value:
        value = Value(*self._sum())
        if self._kinds[self._at] != ".":
            raise _NoValue
        return value

    def _sum(self) -> tuple[int | Fraction, bool]:
        total, is_percent = self._product()
        while sign := _SUMS.get(self._kinds[self._at]):
            self._at += 1
            term, term_is_percent = self._product()
            if term_is_percent != is_percent:
                raise _NoValue
            total = _bounded(total + sign * term)
        return total, is_percent

    def _product(self) -> tuple[int | Fraction, bool]:
        product, is_percent = self._factor()
        while True:
            kind = self._kinds[self._at]
            if kind in _PRODUCTS:
                self._at += 1
                product = _bounded(product * self._factor()[0])
            elif kind in _QUOTIENTS:
                self._at += 1
                product = _bounded(_quotient(product, self._factor()[0]))
            else:
                return product, is_percent
            is_percent = False

    def _factor(self) -> tuple[int | Fraction, bool]:
        kind = self._kinds[self._at]
        self._at += 1
        if kind == "n":
            number = number_of(self._numerals.pop())
        elif kind in _MINUS:
            number, is_percent = self._factor()
            return -number, is_percent
        elif kind in "([":
            return self._percent(*self._bracketed(")" if kind == "(" else "]"))
        else:
            raise _NoValue
        if number is None:
            raise _NoValue
        return self._percent(number, False)

    def _percent(self, number: int | Fraction, is_percent: bool) -> tuple[int | Fraction, bool]:
        while self._take("%"):
            number, is_percent = _quotient(number, 100), True
        return number, is_percent

    def _bracketed(self, closing: str) -> tuple[int | Fraction, bool]:
        number, is_percent = self._sum()
        if closing == ")" and self._take("F"):
            number, is_percent, closing = _bounded(_quotient(number, self._sum()[0])), False, "E"
        if not self._take(closing):
            raise _NoValue
        return number, is_percent

    def _take(self, kind: str) -> bool:
        taken = self._kinds[self._at] == kind
        self._at += taken
        return taken


def _bounded(number: int | Fraction) -> int | Fraction:
    if number.numerator.bit_length() + number.denominator.bit_length() > MAX_BITS:
        raise _NoValue
    return number
