# SPDX-License-Identifier: Apache-2.0
r"""Reads the last number of a text that marks no answer, as ``reader.py`` reads a marked one.

The number begins where the numbers begin that are tied to the last one: the base of its power, the quantity whose unit
has it as exponent (``72 m^2``), what it is divided or multiplied by, the other end of a range. Two numbers with a blank
between them are one numeral only where they cannot be two: ``10 000`` and ``1 234 567``, not ``10 250``.
"""

import re

from ntl_jax.numerals.answers.reader import Reader, Written
from ntl_jax.numerals.answers.tokens import CURRENCY, NUMBERS, Token, Unreadable, tokens_of
from ntl_jax.numerals.answers.words import FUNCTIONS, JOINING_WORDS, LARGER_MEASURES

_UP_TO_LAST = re.compile(".*[0-9¼-¾⅐-⅞]", re.DOTALL)
_MOST_IN_FRONT = 200  # characters, of fewer tokens than are read
_TIES = (JOINING_WORDS | LARGER_MEASURES) - {"of", "by"}
_ARROWS = frozenset(("\\implies", "\\Rightarrow", "\\rightarrow", "\\to", "\\therefore", "\\Longrightarrow", "\\iff"))
_OPERATORS = frozenset("√∛∜±≤≥≠")
_PRODUCTS = frozenset(["×", "·", "⋅", "÷", r"\times", r"\cdot", r"\div"])
_LISTS = frozenset(",;")
_SUBSCRIPT = re.compile(r"(?<=\w)_\{?\Z")
_SIGNED = re.compile(rf"(?<![\w)\]}}])[-+\u2212]{CURRENCY}?\Z")


def read_last(text: str) -> Written | None:
    """The last number of a text; None where there is none.

    Raises:
        Unreadable: it is not one number.

    Example:
        >>> read_last("The area is 72 m^2.")
        Written(start=12, end=14, negative=False, exact=None)
    """
    match = _UP_TO_LAST.match(text)
    if match is None:
        return None
    number_start = len(match[0].rstrip("0123456789"))
    start, line_end = max(0, number_start - _MOST_IN_FRONT), text.find("\n", match.end())
    tokens = tokens_of(text, start, line_end if line_end >= 0 else len(text))
    last = max((i for i, token in enumerate(tokens) if token.lastgroup in NUMBERS), default=None)
    if last is None:  # only in words, such as CO2
        return None
    first = last
    while (before := _tied(tokens, first)) < first:
        first = before
    is_cut_off = tokens[first].start() == start > 0
    if is_cut_off or any(map(_may_be_two, tokens[first : last + 1])):
        raise Unreadable
    return Reader(tokens[first - _is_signed(tokens, first) :]).read(only_number=False)


def _tied(tokens: list[Token], index: int) -> int:
    """Index of the number that the one at ``index`` is tied to; ``index`` where it is tied to none."""
    number = tokens[index]
    text = number.string
    if _SUBSCRIPT.search(text[max(0, number.start() - 3) : number.start()]):
        raise Unreadable
    if index == 0:
        return index
    before = index - 1
    kind, token = tokens[before].lastgroup, tokens[before]
    if kind == "sign" and before and tokens[before - 1].lastgroup in ("caret", "power"):
        return _base_of(tokens, before - 1)
    if kind in ("caret", "power"):
        return _base_of(tokens, before)
    if kind in NUMBERS:
        between = text[token.end() : number.start()]
        return before if between.strip() in ("", "(", "'") else index
    if (kind == "command" and token[0] not in _ARROWS) or token[0] in _OPERATORS or token[0].lower() in FUNCTIONS:
        raise Unreadable
    if kind == "word" and text[token.end() : number.start()] == "(":  # f(9)
        raise Unreadable
    if before == 0:
        return index
    above = tokens[before - 1]
    is_spaced = text[token.start() - 1].isspace()  # <b>72 is no inequality
    if token[0] in ("<", ">") and is_spaced and above.lastgroup in (*NUMBERS, "word"):
        raise Unreadable
    if above.lastgroup == "word" and token[0] in _PRODUCTS:  # 72 cm × 5 cm
        raise Unreadable
    if before > 1 and _is_signed(tokens, index) and above[0] in _LISTS and tokens[before - 2].lastgroup in NUMBERS:
        return before - 2
    return before - 1 if above.lastgroup in NUMBERS and _ties(token, above, number) else index


def _base_of(tokens: list[Token], caret: int) -> int:
    """Index of the number that a power belongs to: its base, or the quantity of which its base is the unit."""
    base = caret - 1
    if base < 0 or tokens[caret].string[tokens[caret].start() - 1] == ")":
        raise Unreadable
    while base > 0 and tokens[base].lastgroup in ("word", "slash", "times"):
        base -= 1
    if tokens[base].lastgroup not in NUMBERS:
        raise Unreadable
    return base


def _ties(token: Token, above: Token, below: Token) -> bool:
    """Whether this, between two numbers, makes them belong together."""
    match token.lastgroup:
        case "slash" | "times" | "sign":
            return True
        case "pause":
            return token[0] in _LISTS or token.string[token.start() : below.start()] == ".("  # 0.(3)
        case "word":
            return token[0].lower() in _TIES
        case "odd":
            is_close = above.end() == token.start(), token.end() == below.start()
            return all(is_close) or (token[0] == ":" and not any(is_close))
    return False


def _is_signed(tokens: list[Token], index: int) -> bool:
    number = tokens[index]
    in_front = number.string[max(0, number.start() - 4) : number.start()]
    return index > 0 and tokens[index - 1].lastgroup == "sign" and _SIGNED.search(in_front) is not None


def _may_be_two(token: Token) -> bool:
    """Whether a numeral with a blank in it may be two of them."""
    if token.lastgroup != "number" or token["separator"] != " ":
        return False
    groups = token[0].split(" ")
    return len(groups) == 2 and not groups[1].startswith("0")
