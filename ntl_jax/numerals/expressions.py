# SPDX-License-Identifier: Apache-2.0
"""Exact values of expressions.

Products before sums, each from the left; a fraction's bar and brackets group; a percentage is a hundredth, and a sum of
one with a plain number has no value (``100 + 20%`` is 120 to some). Numbers are integers and fractions; nothing is
rounded, and nothing is given to Python to evaluate.

Hostile text costs linear time: expressions of more tokens, numerals of more digits and values of more bits than the
limits below have no value.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 18
MAX_TOKENS = 48
MAX_BITS = 256

_SUMS = {"+": 1, "a": 1, "P": 1, "-": -1, "s": -1, "e": -1, "M": -1}
_PRODUCTS = frozenset("*mjTf")
_QUOTIENTS = frozenset("/dD")
_MINUS = frozenset("-s")
_LEADING_ZERO = re.compile(r"0[0-9]")  # 0900 is a time of day


class Value(NamedTuple):
    """A number, and whether it was written in percent."""

    number: int | Fraction
    is_percent: bool


class _NoValue(Exception):
    """The tokens are no expression, or one past the limits."""


def evaluate(kinds: str, numerals: Iterator[str]) -> Value | None:
    """The value of an expression; None where it has none.

    Args:
        kinds: of its tokens, as `ntl_jax.numerals.lexer` names them, without words.
        numerals: as they are written, from the left.

    Example:
        >>> evaluate("n-n/n", iter(["2", "1", "3"]))
        Value(number=Fraction(5, 3), is_percent=False)
    """
    while kinds.count("(") > kinds.count(")") and kinds[0] == "(":  # around the whole equation
        kinds = kinds[1:]
    if len(kinds) > MAX_TOKENS:
        return None
    try:
        return _Parser(kinds, numerals).parse()
    except (_NoValue, ZeroDivisionError):
        return None


def number_of(written: str) -> int | Fraction | None:
    """The value of an unsigned numeral; None where it is too long, or is more likely a name than a number."""
    if "," in written:
        written = written.replace("{,}", "").replace(",", "")
    if len(written) > MAX_DIGITS + 1 or _LEADING_ZERO.match(written):
        return None
    integer, point, decimals = written.partition(".")
    if len(integer) + len(decimals) > MAX_DIGITS:
        return None
    return _simple(int(integer + decimals), 10 ** len(decimals)) if point else int(integer)


def _simple(numerator: int | Fraction, denominator: int | Fraction) -> int | Fraction:
    """The quotient; whole numbers are integers, which are many times faster than fractions."""
    quotient = Fraction(numerator, denominator)
    return quotient.numerator if quotient.denominator == 1 else quotient


class _Parser:
    """Recursive descent: sum = product (+- product)*, product = factor (*/ factor)*, factor = -factor | atom %*."""

    def __init__(self, kinds: str, numerals: Iterator[str]) -> None:
        self._kinds = kinds + "."
        self._numerals = numerals
        self._at = 0

    def parse(self) -> Value:
        value = self._sum()
        if self._kinds[self._at] != ".":
            raise _NoValue
        return value

    def _sum(self) -> Value:
        total = self._product()
        while sign := _SUMS.get(self._kinds[self._at]):
            self._at += 1
            term = self._product()
            if term.is_percent != total.is_percent:
                raise _NoValue
            total = Value(_bounded(total.number + sign * term.number), total.is_percent)
        return total

    def _product(self) -> Value:
        product = self._factor()
        while True:
            kind = self._kinds[self._at]
            if kind in _PRODUCTS:
                self._at += 1
                product = Value(_bounded(product.number * self._factor().number), False)
            elif kind in _QUOTIENTS:
                self._at += 1
                product = Value(_bounded(_simple(product.number, self._factor().number)), False)
            else:
                return product

    def _factor(self) -> Value:
        kind = self._kinds[self._at]
        self._at += 1
        if kind == "n":
            if (number := number_of(next(self._numerals))) is None:
                raise _NoValue
            value = Value(number, False)
        elif kind in _MINUS:
            factor = self._factor()
            return Value(-factor.number, factor.is_percent)
        elif kind in "([":
            value = self._bracketed({"(": ")", "[": "]"}[kind])
        else:
            raise _NoValue
        while self._take("%"):
            value = Value(_simple(value.number, 100), True)
        return value

    def _bracketed(self, closing: str) -> Value:
        value = self._sum()
        if closing == ")" and self._take("F"):
            value, closing = Value(_bounded(_simple(value.number, self._sum().number)), False), "E"
        if not self._take(closing):
            raise _NoValue
        return value

    def _take(self, kind: str) -> bool:
        taken = self._kinds[self._at] == kind
        self._at += taken
        return taken


def _bounded(number: int | Fraction) -> int | Fraction:
    if number.numerator.bit_length() + number.denominator.bit_length() > MAX_BITS:
        raise _NoValue
    return number
