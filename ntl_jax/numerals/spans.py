# SPDX-License-Identifier: Apache-2.0
r"""Numerals in text: which characters are the digits of which number, and which of the numbers is the answer.

A numeral is an optional sign (``-``, U+2212 or ``+``), ASCII digits with well-formed thousands commas (``1,234``; in
LaTeX also ``1{,}234``) and optional decimals. A currency sign on either side of the sign is stepped over, so is a
percent sign or full stop behind it. A minus that follows a letter, a digit or a closing bracket is an operator or a
hyphen. Other scripts' digits are not read. Answers may have more forms: see ``answer_reader.py``.

Every pattern is possessive or has one way to match, so that hostile text costs time linear in its length; no digits
are converted to integers, which Python refuses past 4,300 of them.
"""

import bisect
import collections
import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Iterator
from fractions import Fraction

from ntl_jax.numerals.answers.last_number import read_last
from ntl_jax.numerals.answers.reader import Written, read_box, read_field, read_reference
from ntl_jax.numerals.answers.tokens import CURRENCY, MINUS, Unreadable

_SIGN = "[-+\N{MINUS SIGN}]"
_DIGITS = r"(?:[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?"
UNSIGNED = rf"(?P<digits>{_DIGITS}|(?<![\w.])\.[0-9]++)"
_NUMERAL = re.compile(rf"(?:(?<![\w)\]}}])(?P<sign>{_SIGN}){CURRENCY}?)?{UNSIGNED}")
_MARKER = re.compile("(?<!#)####++")
_BOX = "\\boxed"
_BRACE = re.compile(r"[{}]")
RESPONSES_KEPT = 8192  # of which the answers are remembered: labels, reward and accuracy ask for the same ones


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
        >>> numeral = find_answer("so -1,234.50 it is")
        >>> numeral.digits, numeral.offsets, numeral.num_integer, numeral.negative
        ('123450', (4, 6, 7, 8, 10, 11), 4, True)
        >>> numeral.places, numeral.canonical
        (range(3, -3, -1), '-1234.5')
        >>> find_answer("#### 2/3").canonical
        '2/3'
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


def find_numerals(text: str, start: int = 0, end: int | None = None) -> Iterator[Numeral]:
    """The numerals of ``text[start:end]`` from left to right; offsets count from the start of ``text``.

    Example:
        >>> [n.canonical for n in find_numerals("12-5 = 7.0, not -$1,000")]
        ['12', '5', '7', '-1000']
    """
    return map(_signed, _NUMERAL.finditer(text, start, len(text) if end is None else end))


def find_marked_answer(text: str) -> Numeral | None:
    r"""The number that a response marks as its answer; None without a mark, or if it marks more than one number.

    The number after ``####``; of several the first, as GSM8K's own scorer reads them: the marker ends the solution, so
    what a policy writes after it cannot change the answer. Without that, the number in the last
    ``\boxed{...}``, as is the custom for that notation, where earlier boxes hold steps; a box that the length limit cut
    off reaches to the end. A marker or box without a number is skipped. For the reading rules see ``answer_reader.py``.

    Example:
        >>> find_marked_answer("2 * 36 = 72\n#### $72.00\n#### 5").canonical
        '72'
        >>> find_marked_answer(r"of 9, \boxed{\text{about } {-7}\%}, or 8").canonical
        '-7'
        >>> find_marked_answer("#### 3:30") is None
        True
    """
    return _marked(text)[0]


@functools.lru_cache(RESPONSES_KEPT)
def find_answer(text: str) -> Numeral | None:
    r"""The number a response gives as its answer: the marked one, else its last.

    None where the text holds no number, and where what it marks is not one number. Without a mark, what is tied to the
    last number is read with it (``72 m^2``, ``1.5 million``); where that is not one number, the last one stands alone.

    Example:
        >>> find_answer("2 * 36 = 72, so 72.").offsets, find_answer("there is none") is None
        ((16, 17), True)
        >>> find_answer("either 6 or 7\n#### 6-7") is None
        True
    """
    answer, is_marked = _marked(text)
    if is_marked:
        return answer
    with contextlib.suppress(Unreadable):
        if written := read_last(text):
            return _numeral(text, written)
    last = collections.deque(find_numerals(text), maxlen=1)
    return last[0] if last else None


def parse_numeral(text: str) -> Numeral:
    """The number of a reference answer, such as ``"-1,234"`` or ``"1/2"``, or of a solution that marks its answer.

    Raises:
        ValueError: the text is not one number.

    Example:
        >>> parse_numeral("$1,234").canonical
        '1234'
    """
    answer, is_marked = _marked(text)
    if not is_marked:
        try:
            answer = _numeral(text, read_reference(text))
        except Unreadable:
            answer = None
    if answer is None:
        found = "is not one number" if re.search("[0-9]", text) else "holds no number"
        raise ValueError(
            f"reference answer {text[:80]!r} {found}: pass an integer, decimal or fraction in ASCII digits, or a "
            "solution with one after ####"
        )
    return answer


def read_numeral(match: re.Match[str], *, negative: bool) -> Numeral:
    """The numeral of a match of ``UNSIGNED``, with its sign."""
    return _numeral(match.string, Written(*match.span("digits"), negative, None))


def _numeral(text: str, written: Written) -> Numeral:
    if written.exact is not None:
        value = -written.exact if written.negative else written.exact
        return Numeral("", (), 0, value < 0, value)
    offsets = tuple(i for i in range(written.start, written.end) if text[i] in "0123456789")
    point = text.find(".", written.start, written.end)
    num_integer = len(offsets) if point < 0 else bisect.bisect(offsets, point)
    return Numeral("".join(text[i] for i in offsets), offsets, num_integer, written.negative)


def _signed(match: re.Match[str]) -> Numeral:
    return read_numeral(match, negative=match["sign"] in MINUS)


@functools.lru_cache(RESPONSES_KEPT)
def _marked(text: str) -> tuple[Numeral | None, bool]:
    """The marked answer (None if it is not one number), and whether there is a mark with a number."""
    try:
        for marker in _MARKER.finditer(text):
            if written := read_field(text, marker.end()):
                return _numeral(text, written), True
        if (start := text.rfind(_BOX)) >= 0 and (written := read_box(text, *_content_of_box(text, start))):
            return _numeral(text, written), True
    except Unreadable:
        return None, True
    return None, False


def _content_of_box(text: str, start: int) -> tuple[int, int]:
    depth, start = 0, start + len(_BOX)
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth <= 0:
            return start, brace.start()
    return start, len(text)


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
