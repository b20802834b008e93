# SPDX-License-Identifier: Apache-2.0
"""Expressions that can be read in two ways, or that are probably not computations.

The functions take the kinds of an expression's tokens without its units (`ntl_jax.numerals.equations.lexer`).
"""

import functools
import re
from fractions import Fraction

from ntl_jax.numerals.equations.expressions import KEPT
from ntl_jax.numerals.equations.surroundings import ALWAYS, IF_CONFIRMED, NEVER

# Spacing that contradicts operator precedence: 60 / 3/4, 3 * 2+4, 5 - 3-2, 2+4 * 3.
_SPACING = re.compile(r"/[^()\[\]FE]*[md]|[*/][^()\[\]FE]*[as]|(?<=[n%)])-[^()\[\]FE]*[as]|[as][^()\[\]FE]*[*/]")
_DOUBTFUL = re.compile(  # brackets that may round, dashes, products without a sign, losses, 1/2/3/4
    r"[\[ej]|[-+as]\(n\)|ndndndn"
)
_QUOTIENTS = re.compile(r"[/dD][^-+as()\[\]]*[/dD]")
_SLASH = re.compile("[/\N{FRACTION SLASH}\N{DIVISION SLASH}]")
_WORD_OPERATOR = re.compile(r"[PMTDf]")
_OPERATOR = re.compile(r"[-+*/asmdejPMTDf]")
_OF = re.compile(r"(?<!%)(?<!n[d/]n)(?<!E)f")  # of a percentage or a fraction only
_OTHER_NOTATION = re.compile(  # 1.200 for 1200, 3·5 for 3.5, a mixed number, a date
    r"(?<![0-9.,])[1-9][0-9]{0,2}\.[0-9]{3}(?![0-9])|[0-9]·[0-9]"
    r"|[0-9]-[1-9]/(?:[2-9]|1[026]|32)(?![0-9.])"
    r"|(?<![0-9])(?:[0-9]{1,2}/[0-9]{1,2}/(?:[0-9]{2}|[0-9]{4})|[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2})(?=\s)"
)
_POINT_OF_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")
_FRACTIONS = re.compile(r"n[d/]n(?:[-+as]n[d/]n)*")
_RANGE = re.compile(r"n[se]n")
_SUM_OF_TWO = re.compile(r"n(?:(?P<plus>[+aP])|[-seM])n")
_HALF_DAY, _ONE_O_CLOCK = 12, 100


def trust_reading(kinds: str, text: str) -> int:
    """Whether an expression, written as ``text``, can be read in one way only."""
    trust = _trust_kinds(kinds)
    if trust == ALWAYS and (
        _OTHER_NOTATION.search(text) or ("÷" in text and _SLASH.search(text) and _QUOTIENTS.search(kinds))
    ):
        return IF_CONFIRMED  # 60÷3/4
    return trust


@functools.lru_cache(KEPT)
def _trust_kinds(kinds: str) -> int:
    if _OF.search(kinds):
        return NEVER
    if _DOUBTFUL.search(kinds) or _SPACING.search(kinds):
        return IF_CONFIRMED
    is_in_words = _WORD_OPERATOR.search(kinds) and len(_OPERATOR.findall(kinds)) > 1
    return IF_CONFIRMED if is_in_words else ALWAYS


def is_other_than_computed(kinds: str, first: int | Fraction, value: int | Fraction, written: int | Fraction) -> bool:
    """Whether a result that differs from the value may be right, because the expression is not a computation.

    Such expressions are a share of something (``Rent: 1/4 = 1500``) and a range (``pages 5-7 = 3``).

    Args:
        kinds: the kinds of the expression's tokens.
        first: the expression's first number.
        value: the expression's value.
        written: the result as written.
    """
    if _RANGE.fullmatch(kinds):
        return value < 0 <= written
    if not _FRACTIONS.fullmatch(kinds):
        return False
    if len(kinds) == 3 and written > first:
        return True
    return abs(value) < len(kinds) // 4 + 1 and value.denominator != 1 and written.denominator == 1


def is_time_of_day(kinds: str, numerals: list[str], value: int | Fraction, written: int | Fraction) -> bool:
    """Whether a result may be one on the clock: ``1430 - 1345 = 45 minutes``, ``10 + 5 = 3 in the afternoon``.

    Args:
        kinds: of the expression's tokens.
        numerals: those of the expression, and of the result.
        value: of the expression.
        written: its result as it is written.
    """
    if not (operator := _SUM_OF_TWO.fullmatch(kinds)):
        return False
    if 0 < written <= _HALF_DAY * 2 and (value - written) % (_HALF_DAY if written <= _HALF_DAY else _HALF_DAY * 2) == 0:
        return True
    first, second, result = (int(re.sub("[^0-9]", "", numeral)) for numeral in numerals)
    sign = 1 if operator["plus"] else -1
    minutes = {_minutes(first) + sign * second, _minutes(first) + sign * _minutes(second)}
    return first >= _ONE_O_CLOCK and not minutes.isdisjoint((result, _minutes(result), written * 60))


def _minutes(clock: int) -> int:
    """Minutes since midnight of a time such as 1430."""
    return clock // _ONE_O_CLOCK * 60 + clock % _ONE_O_CLOCK


def is_point_of_thousands(written: str, value: int | Fraction) -> bool:
    """Whether the point in a result such as ``1.200`` may be a thousands separator, because the value is an integer."""
    return value.denominator == 1 and _POINT_OF_THOUSANDS.fullmatch(written) is not None
