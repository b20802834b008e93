# SPDX-License-Identifier: Apache-2.0
"""Expressions that can be read in two ways, or that are probably not computations.

The functions take the kinds of an expression's tokens without its units (`ntl_jax.numerals.lexer`).
"""

import re
from fractions import Fraction

from ntl_jax.numerals.surroundings import ALWAYS, IF_CONFIRMED, NEVER

# Spacing that contradicts operator precedence: 60 / 3/4, 3 * 2+4, 5 - 3-2, 2+4 * 3.
_SPACING = re.compile(r"/[^()\[\]FE]*[md]|[*/][^()\[\]FE]*[as]|(?<=[n%)])-[^()\[\]FE]*[as]|[as][^()\[\]FE]*[*/]")
_DOUBTFUL = re.compile(r"[\[ej]")  # square brackets, dashes, products without an operator
_WORD_OPERATOR = re.compile(r"[PMTDf]")
_OPERATOR = re.compile(r"[-+*/asmdejPMTDf]")
_OF = re.compile(r"(?<!%)(?<!n[d/]n)(?<!E)f")  # "of" that does not follow a percentage or a fraction
_OTHER_NOTATION = re.compile(  # 1.200 for 1200, 3·5 for 3.5, a date
    r"(?<![0-9.,])[1-9][0-9]{0,2}\.[0-9]{3}(?![0-9])|[0-9]·[0-9]"
    r"|(?<![0-9])(?:[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2})(?=\s)"
)
_POINT_OF_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")
_FRACTIONS = re.compile(r"n[d/]n(?:[-+as]n[d/]n)*")
_RANGE = re.compile(r"n[se]n")


def trust_reading(kinds: str, text: str) -> int:
    """How far the reading of an expression, written as ``text``, can be trusted."""
    if "f" in kinds and _OF.search(kinds):
        return NEVER
    if _DOUBTFUL.search(kinds) or _SPACING.search(kinds) or _OTHER_NOTATION.search(text):
        return IF_CONFIRMED
    if _WORD_OPERATOR.search(kinds) and len(_OPERATOR.findall(kinds)) > 1:
        return IF_CONFIRMED
    return ALWAYS


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


def is_point_of_thousands(written: str, value: int | Fraction) -> bool:
    """Whether the point in a result such as ``1.200`` may be a thousands separator, because the value is an integer."""
    return value.denominator == 1 and _POINT_OF_THOUSANDS.fullmatch(written) is not None
