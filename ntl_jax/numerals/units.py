# SPDX-License-Identifier: Apache-2.0
"""Units beside the numbers of an equation: ``5 apples + 3 apples = 8 apples``.

Any unknown word can be a unit or an operator (``5 squared + 3``), so an expression with words is trusted only if all
its numbers and the result have the same unit.
"""

import re
from fractions import Fraction

from ntl_jax.numerals import words
from ntl_jax.numerals.lexer import Tokens
from ntl_jax.numerals.surroundings import ALWAYS, IF_CONFIRMED, NEVER

UNIT = "(?:[wlc]{1,3}+(?:[/dh][wlc]{1,2}+)?+|[/dh][wlc]{1,2}+)"
"""A unit after a number, as a pattern of token kinds: ``miles``, ``miles per hour``, ``/hour``."""

_UNIT = re.compile(UNIT)
_DASH = re.compile("[wlc]-[(]*n(?![wlc])")  # 5 apples - 3 + 4 = 7 may be two list items
_RATIO = re.compile("[/dh][wlc]")
_SUM = re.compile("[^*/mdjFTDf]*")
_CURRENCIES = frozenset("$€£¥")
_CONVERSIONS = frozenset(
    (2, 3, 4, 5, 7, 8, 10, 12, 16, 20, 24, 25, 30, 36, 52, 60, 100, 365, 1000, 1440, 1760, 3600, 5280)
)
_FIRST_WORDS = 4  # how many words after a result are compared


def without_units(kinds: str) -> str:
    """The kinds of an expression's tokens without its units."""
    return _UNIT.sub("", kinds)


def trust_units(tokens: Tokens, start: int, end: int, result: int) -> int:
    """How far the units of the expression in tokens ``start`` to ``end`` and of its result agree."""
    kinds = tokens.kinds[start:end]
    text = tokens.text[tokens.start(start) : tokens.end(result)]
    if not text.isascii() and len(_CURRENCIES.intersection(text)) > 1:
        return NEVER
    units = {words.singular(tokens.word(start + match.end() - 1)) for match in _UNIT.finditer(kinds)}
    if not units:
        return ALWAYS
    result_words = _words_behind(tokens, result)
    if not result_words and _SUM.fullmatch(without_units(kinds)) and "$" not in text:
        return NEVER
    agree = len(units) == 1 and not units.isdisjoint(map(words.singular, result_words))
    return IF_CONFIRMED if not agree or _RATIO.search(kinds) or _DASH.search(kinds) else ALWAYS


def is_conversion(tokens: Tokens, start: int, result: int, value: int | Fraction, written: int | Fraction) -> bool:
    """Whether a result differs because its unit differs: ``60 * 2 = 2 hours``, ``3 * 50 = $1.50``."""
    if not value or not written:
        return False
    ratio = Fraction(value) / Fraction(written)
    if ratio not in _CONVERSIONS and 1 / ratio not in _CONVERSIONS:
        return False
    expression = tokens.text[: tokens.end(result)][tokens.start(start) :]
    left, _, right = expression.partition("=")
    has_other_currency = any((c in left) != (c in right) for c in _CURRENCIES)
    return has_other_currency or any(word.lower() in words.MEASURES for word in _words_behind(tokens, result))


def _words_behind(tokens: Tokens, result: int) -> list[str]:
    found = []
    for index in range(result + 1, min(result + 1 + _FIRST_WORDS, len(tokens.kinds))):
        if tokens.kinds[index] not in "wlck":
            break
        found.append(tokens.word(index))
    return found
