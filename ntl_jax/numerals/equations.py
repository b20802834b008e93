# SPDX-License-Identifier: Apache-2.0
"""Equations in a response, such as ``48/2=24`` or GSM8K's ``<<48/2=24>>24``, and what their results should have been.

The left-hand side is read by a parser of its own: numerals, + - * / (also × ÷ and the minus sign), brackets, percent.
It is evaluated in fractions; nothing is rounded, and nothing is given to Python to evaluate. The result is the numeral
behind the equals sign, and the one behind ``>>``, which repeats it.

A wrong truth would be worse than none, so that whatever is not plainly an equation of numbers is passed over: letters
that look like variables (``2x+3=7``), functions, powers, mixed numbers, words that belong to the computation (``half of
20+5=15``), a percentage added to a plain number. An expression ends where its line ends.

Hostile text costs one pass over its characters: expressions of more tokens, numerals of more digits and values of more
bits than the limits below have no truth.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

from ntl_jax.numerals.spans import CURRENCY, MINUS, UNSIGNED, Numeral, parse_numeral, read_numeral

MAX_DIGITS = 18
MAX_TOKENS = 48
MAX_BITS = 256
MAX_DECIMALS = 6
"""A value with more decimals is rounded, as one that never ends is, to as many as its result was written with."""

_TOKEN = re.compile(
    rf"{UNSIGNED}|(?P<operator>[-+*/×÷−])|(?P<open>\()|(?P<close>\))|(?P<percent>\\?%)"
    rf"|(?P<equals>=)|(?P<begin><<)|(?P<end>>>)|(?P<skip>[^\S\n]++|{CURRENCY})"
    r"|(?P<word>[^\W\d_]++(?:['’][^\W\d_]++)*+)|(?P<pause>[,:](?![0-9])|[\n.;?!\"#])|(?P<odd>.)",
    re.DOTALL,
)
_ENDS_OPERAND = ("digits", "close", "percent")
# Words that carry a computation on: behind a number, and in front of one.
_GOES_ON = frozenset(("of", "times", "plus", "minus", "over", "by", "squared", "cubed", "divided", "multiplied"))
_LEADS_ON = _GOES_ON | {"and", "than", "from", "to", "twice", "double", "triple", "half", "the"}

_Token = re.Match[str]


class Equation(NamedTuple):
    """A result as it is written in the text, and what it should have been.

    Example:
        >>> [(e.result.canonical, e.truth.canonical) for e in find_equations("half: 48/2=<<48/2=25>>25, 1/3 = .34")]
        [('25', '24'), ('25', '24'), ('0.34', '0.33')]
    """

    result: Numeral
    truth: Numeral


class _Expression(NamedTuple):
    """What stands between two ends; not sound if it holds, or goes on with, what is no computation with numbers."""

    tokens: list[_Token]
    sound: bool
    end: Literal["equals", "begin", "end", "other"]


class _Value(NamedTuple):
    """A number, and whether it was written in percent."""

    number: Fraction
    is_percent: bool


class _NoValue(Exception):
    """The tokens are no expression, or one past the limits."""


def find_equations(text: str) -> Iterator[Equation]:
    """The results of all equations in a text, from left to right.

    Args:
        text: any text; the time is linear in its length.

    Example:
        >>> [e.truth.canonical for e in find_equations("(1,200+300)*20% = $310 and 2x+3=7, 5-7=-3")]
        ['300', '-2']
    """
    due = in_front = inside = None
    for expression in _expressions(text):
        if due is not None and (equation := _equation(expression, due)):
            yield equation
        match expression.end:
            case "equals":
                due = inside = _value(expression)
            case "begin":
                in_front, due = None if expression.tokens else due, None
            case "end":
                due, in_front = in_front or inside, None
            case "other":
                due = None


def _expressions(text: str) -> Iterator[_Expression]:
    tokens: list[_Token] = []
    sound = True
    before = "start"
    for token in _TOKEN.finditer(text):
        kind = str(token.lastgroup)
        if kind == "skip":
            continue
        spaced = token.start() == 0 or text[token.start() - 1].isspace()
        if kind in ("digits", "operator", "open", "close", "percent"):
            if kind == "open" and spaced and before in _ENDS_OPERAND:  # 8 (apples)
                yield _Expression(tokens, sound, "other")
                tokens, sound = [], False
            sound = sound and _may_follow(token, before, spaced)
            tokens.append(token)
        elif kind == "word":
            goes_on = token[0].lower() in _GOES_ON or _is_variable(token[0], spaced)
            yield _Expression(tokens, sound and not goes_on, "other")
            tokens, sound = [], not (token[0].lower() in _LEADS_ON or _is_variable(token[0], spaced))
        else:
            yield _Expression(tokens, sound and kind != "odd", kind if kind in ("equals", "begin", "end") else "other")
            tokens, sound = [], kind != "odd"
        before = kind
    yield _Expression(tokens, sound, "other")


def _may_follow(token: _Token, before: str, spaced: bool) -> bool:
    """Whether an expression may go on, or begin, with this token."""
    match token.lastgroup:
        case "digits" | "open":  # side by side is a product or a mixed number, and f(3) or x2 is neither
            return before not in _ENDS_OPERAND and (before != "word" or spaced)
        case "percent":
            return before in _ENDS_OPERAND
        case "operator":  # a sign, unless it follows what may be an operand
            return before in _ENDS_OPERAND or (token[0] in MINUS and before not in ("word", "odd", "pause"))
    return before in _ENDS_OPERAND


def _is_variable(word: str, spaced: bool) -> bool:
    return len(word) == 1 and not (spaced and word in "aAI")


def _equation(expression: _Expression, due: _Value) -> Equation | None:
    """The equation whose result is this expression, if it is a numeral."""
    tokens = list(expression.tokens)
    while tokens and tokens[-1].lastgroup == "close":  # of a bracket around the whole equation
        tokens.pop()
    percent = bool(tokens) and tokens[-1].lastgroup == "percent"
    numerals = tokens[:-1] if percent else tokens
    sign = [t for t in numerals[:1] if t.lastgroup == "operator"]
    kinds = [t.lastgroup for t in numerals[len(sign) :]]
    if not expression.sound or kinds != ["digits"]:
        return None
    result = read_numeral(numerals[-1], negative=bool(sign))
    if len(result.digits) > MAX_DIGITS or due.is_percent != percent:  # 3/4 = 75%, and 3/4*100 = 75% too
        return None
    value = due.number * 100 if percent else due.number
    return Equation(result, parse_numeral(_decimal(value, len(result.digits) - result.num_integer)))


def _decimal(value: Fraction, num_decimals: int) -> str:
    """The value in full where it has few decimals, else rounded to ``num_decimals``, halves away from zero."""
    if (value * 10**MAX_DECIMALS).denominator == 1:
        num_decimals = MAX_DECIMALS
    units = int(abs(value) * 10**num_decimals + Fraction(1, 2))
    digits = str(units).rjust(num_decimals + 1, "0")
    integer = digits[: len(digits) - num_decimals]
    return f"{'-' if value < 0 else ''}{integer}.{digits[len(integer) :]}0"


def _value(expression: _Expression) -> _Value | None:
    """The value of a computation with at least two numbers; None where it has none."""
    tokens = expression.tokens
    kinds = [token.lastgroup for token in tokens]
    if not expression.sound or len(tokens) > MAX_TOKENS or kinds.count("digits") < 2:
        return None
    while kinds.count("open") > kinds.count("close") and kinds[0] == "open":  # around the whole equation
        tokens, kinds = tokens[1:], kinds[1:]
    try:
        return _Parser(tokens).parse()
    except (_NoValue, ZeroDivisionError):
        return None


class _Parser:
    """Recursive descent: sum = product (+- product)*, product = factor (*/ factor)*, factor = -factor | atom %*."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens[::-1]

    def parse(self) -> _Value:
        value = self._sum()
        if self._tokens:
            raise _NoValue
        return value

    def _sum(self) -> _Value:
        total = self._product()
        while operation := self._take_operator("+-"):
            term = self._product()
            if term.is_percent != total.is_percent:  # 100 + 20% is 120 to some
                raise _NoValue
            number = total.number + (term.number if operation == "+" else -term.number)
            total = _Value(_bounded(number), total.is_percent)
        return total

    def _product(self) -> _Value:
        product = self._factor()
        while operation := self._take_operator("*/"):
            factor = self._factor().number
            number = product.number * factor if operation == "*" else product.number / factor
            product = _Value(_bounded(number), False)
        return product

    def _factor(self) -> _Value:
        if self._take_operator("-"):
            factor = self._factor()
            return _Value(-factor.number, factor.is_percent)
        if self._take("open"):
            value = self._sum()
            if not self._take("close"):
                raise _NoValue
        elif token := self._take("digits"):
            numeral = read_numeral(token, negative=False)
            if len(numeral.digits) > MAX_DIGITS:
                raise _NoValue
            value = _Value(Fraction(numeral.canonical), False)
        else:
            raise _NoValue
        while self._take("percent"):
            value = _Value(value.number / 100, True)
        return value

    def _take(self, kind: str) -> _Token | None:
        return self._tokens.pop() if self._tokens and self._tokens[-1].lastgroup == kind else None

    def _take_operator(self, which: str) -> str | None:
        if self._tokens and self._tokens[-1].lastgroup == "operator":
            symbol = self._tokens[-1][0]
            operation = {"×": "*", "÷": "/"}.get(symbol, "-" if symbol in MINUS else symbol)
            if operation in which:
                self._tokens.pop()
                return operation
        return None


def _bounded(number: Fraction) -> Fraction:
    if number.numerator.bit_length() + number.denominator.bit_length() > MAX_BITS:
        raise _NoValue
    return number
