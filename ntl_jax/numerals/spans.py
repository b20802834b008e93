# SPDX-License-Identifier: Apache-2.0
r"""Numerals in text: which characters are the digits of which number, and which of the numbers is the answer.

A numeral is an optional sign (``-``, U+2212 or ``+``), ASCII digits with well-formed thousands commas (``1,234``; in
LaTeX also ``1{,}234``) and optional decimals. A currency sign on either side of the sign is stepped over, so is a
percent sign or full stop behind it. A minus that follows a letter, a digit or a closing bracket is an operator or a
hyphen. Fractions, exponents and other scripts' digits are not read.

Every pattern is possessive or has one way to match, so that hostile text costs time linear in its length; no digits
are converted to integers, which Python refuses past 4,300 of them.
"""

import dataclasses
import functools
import re
from collections.abc import Iterator

MINUS = ("-", "\N{MINUS SIGN}")
_SIGN = "[-+\N{MINUS SIGN}]"
CURRENCY = r"(?:\\?[$€£])"
_DIGITS = r"(?:[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?"
UNSIGNED = rf"(?P<digits>{_DIGITS}|(?<![\w.])\.[0-9]++)"
_NUMERAL = re.compile(rf"(?:(?<![\w)\]}}])(?P<sign>{_SIGN}){CURRENCY}?)?{UNSIGNED}")
_SPACES = r"[^\S\n]*+"
_PREFIX = rf"{_SPACES}(?:{CURRENCY}{_SPACES})?(?:(?P<sign>{_SIGN}){_SPACES})?(?:{CURRENCY}{_SPACES})?"
_MARKED = re.compile(rf"(?<!#)####++{_PREFIX}{UNSIGNED}")
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

    Example:
        >>> numeral = find_answer("so -1,234.50 it is")
        >>> numeral.digits, numeral.offsets, numeral.num_integer, numeral.negative
        ('123450', (4, 6, 7, 8, 10, 11), 4, True)
        >>> numeral.places, numeral.canonical
        (range(3, -3, -1), '-1234.5')
    """

    digits: str
    offsets: tuple[int, ...]
    num_integer: int
    negative: bool

    @property
    def places(self) -> range:
        """Power of ten of each digit: 0 for the units, -1 for the first decimal."""
        return range(self.num_integer - 1, self.num_integer - 1 - len(self.digits), -1)

    @property
    def canonical(self) -> str:
        """The one way to write this value, so that equal values are equal strings: no ``+``, idle zeros or ``-0``."""
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


@functools.lru_cache(RESPONSES_KEPT)
def find_marked_answer(text: str) -> Numeral | None:
    r"""The number that a response marks as its answer; None where it marks none.

    The number after ``####``; of several the first, as GSM8K's own scorer reads them: the marker ends the solution, so
    what a policy writes on after it can neither mend nor spoil the answer. Without that, the last number in the last
    ``\boxed{...}``, as is the custom for that notation, where earlier boxes hold steps; a box that the length limit cut
    off reaches to the end. A marker or box without a number is passed over.

    Example:
        >>> find_marked_answer("2 * 36 = 72\n#### $72.00\n#### 5").canonical
        '72'
        >>> find_marked_answer(r"of 9, \boxed{\text{about } {-7}\%}, or 8").canonical
        '-7'
    """
    if marked := _MARKED.search(text):
        return _signed(marked)
    return _last_in_box(text)


@functools.lru_cache(RESPONSES_KEPT)
def find_answer(text: str) -> Numeral | None:
    """The number a response gives as its answer: the marked one, else its last; None where the text holds no number.

    Example:
        >>> find_answer("2 * 36 = 72, so 72.").offsets, find_answer("there is none") is None
        ((16, 17), True)
    """
    return find_marked_answer(text) or _last(text, 0, len(text))


def parse_numeral(text: str) -> Numeral:
    """The number of a reference answer, such as ``"-1,234"``; a whole solution will do (see `find_answer`).

    Raises:
        ValueError: the text holds no number.

    Example:
        >>> parse_numeral("$1,234").canonical
        '1234'
    """
    if (numeral := find_answer(text)) is None:
        raise ValueError(
            f"reference answer {text[:80]!r} holds no number: an integer or decimal in ASCII digits is needed"
        )
    return numeral


def read_numeral(match: re.Match[str], *, negative: bool) -> Numeral:
    """The numeral of a match of ``UNSIGNED``, with its sign."""
    start, written = match.start("digits"), match["digits"]
    offsets = tuple(start + i for i, c in enumerate(written) if c in "0123456789")
    integer, _, decimals = written.partition(".")
    integer = integer.replace("{,}", "").replace(",", "")
    return Numeral(integer + decimals, offsets, len(integer), negative)


def _signed(match: re.Match[str]) -> Numeral:
    return read_numeral(match, negative=match["sign"] in MINUS)


def _last(text: str, start: int, end: int) -> Numeral | None:
    last = None
    for last in _NUMERAL.finditer(text, start, end):  # noqa: B007
        pass
    return None if last is None else _signed(last)


def _last_in_box(text: str) -> Numeral | None:
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth = 0
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth <= 0:
            return _last(text, start, brace.start())
    return _last(text, start, len(text))
