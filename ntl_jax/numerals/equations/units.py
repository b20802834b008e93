# SPDX-License-Identifier: Apache-2.0
"""Units beside the numbers of an equation: ``5 apples + 3 apples = 8 apples``.

Any unknown word can be a unit or an operator (``5 squared + 3``), so an expression with words is trusted only if all
its numbers and the result have the same unit.
"""

import functools
import re
from fractions import Fraction

from ntl_jax.numerals.equations import words
from ntl_jax.numerals.equations.expressions import KEPT
from ntl_jax.numerals.equations.lexer import Tokens
from ntl_jax.numerals.equations.surroundings import ALWAYS, IF_CONFIRMED, NEVER

UNIT = r"(?:[wlc]{1,3}+(?:[/dh][wlc]{1,2}+)?+|[/dh][wlc]{1,2}+|\([wlck]{1,3}+\))"
"""Behind a number, in the kinds of tokens: ``miles``, ``miles per hour``, ``/hour``, ``(red)``."""

_UNIT = re.compile(UNIT)
_DASH = re.compile("[wlc]-[(]*n(?![wlc])")  # 5 apples - 3 + 4 = 7 may be a list of two
_UNIT_WORD = re.compile(r"[^\W\d_]++")
_ASIDE = re.compile(r"\([wlck]")
_RATIO = re.compile("[/dh][wlc]")
_SUM = re.compile("[^*/mdjFTDf]*")
_CURRENCIES = frozenset("$€£¥")
_CONVERSIONS = frozenset(
    (
        2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 16, 18, 20, 24, 25, 28, 29, 30, 31, 32, 36, 42, 48, 50, 52, 60, 64, 80, 90,
        91, 100, 112, 120, 128, 144, 168, 180, 220, 240, 256, 360, 365, 366, 480, 500, 660, 720, 1000, 1024, 1440, 1760,
        2000, 2240, 3600, 5280, 8760, 10_000, 10_080, 86_400, 100_000, 1_000_000,
    )
)  # fmt: skip
_FIRST_WORDS = 4  # of those behind a result


@functools.lru_cache(KEPT)
def without_units(kinds: str) -> str:
    """The kinds of an expression's tokens without its units."""
    return _UNIT.sub("", kinds)


def trust_units(tokens: Tokens, start: int, end: int, result: int) -> int:
    """How far the units of the expression in tokens ``start`` to ``end`` and of its result agree."""
    kinds = tokens.kinds[start:end]
    text = tokens.text[tokens.start(start) : tokens.end(result)]
    if not text.isascii() and len(_CURRENCIES.intersection(text)) > 1:
        return NEVER
    if len(without_units(kinds)) == len(kinds):
        return ALWAYS
    if _ASIDE.search(kinds):
        return IF_CONFIRMED
    units = {words.singular(tokens.word(start + match.end() - 1)) for match in _UNIT.finditer(kinds)}
    result_words = _words_behind(tokens, result)
    if not result_words and _SUM.fullmatch(without_units(kinds)) and "$" not in text:
        return NEVER
    agree = len(units) == 1 and not units.isdisjoint(map(words.singular, result_words))
    may_be_variable = any(len(unit) == 1 and unit.isalpha() for unit in units)
    return IF_CONFIRMED if not agree or may_be_variable or _RATIO.search(kinds) or _DASH.search(kinds) else ALWAYS


def is_conversion(tokens: Tokens, start: int, result: int, value: int | Fraction, written: int | Fraction) -> bool:
    """Whether a result differs because its unit differs: ``60 * 2 = 2 hours``, ``3 * 50 = $1.50``."""
    if not value or not written:
        return False
    ratio = abs(Fraction(value, written))
    if 1 not in (ratio.numerator, ratio.denominator) or max(ratio.numerator, ratio.denominator) not in _CONVERSIONS:
        return False
    expression = tokens.text[: tokens.end(result)][tokens.start(start) :]
    left, _, right = expression.partition("=")
    has_other_currency = any((c in left) != (c in right) for c in _CURRENCIES)
    behind = _words_behind(tokens, result)
    units = {words.singular(word) for word in behind if words.kind_of_word(word) != words.PLAIN}
    return has_other_currency or not units.issubset(words.singular(word) for word in _UNIT_WORD.findall(left))


def _words_behind(tokens: Tokens, result: int) -> list[str]:
    found = []
    first = result + 1 + (tokens.kinds[result + 1 : result + 2] == "(")
    for index in range(first, min(first + _FIRST_WORDS, len(tokens.kinds))):
        if tokens.kinds[index] not in "wlck":
            break
        found.append(tokens.word(index))
    return found
