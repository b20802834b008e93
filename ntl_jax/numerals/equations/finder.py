# SPDX-License-Identifier: Apache-2.0
r"""Equations in a response, such as ``48/2=24`` or GSM8K's ``<<48/2=24>>24``, and what their results should have been.

The left-hand side is parsed and evaluated exactly (`expressions`). The result is the numeral after the
equals sign, and the one after ``>>``, which repeats it. Plain text, Markdown and LaTeX are read
(`symbols`), with or without units (`units`).

A wrong truth would be worse than no truth: an expression next to a word or symbol that may be an operator, or one that
can be read in two ways, has no truth unless the written result confirms it (`surroundings`). If a text
and its ``<<...>>`` disagree, neither has a truth. An expression ends at the end of its line; only the equals sign may
start the next line.

Hostile text costs one pass over its characters: lines of more than `MAX_LINE` characters are skipped.
"""

import functools
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from ntl_jax.numerals.equations.ambiguity import (
    is_other_than_computed,
    is_point_of_thousands,
    is_time_of_day,
    trust_reading,
)
from ntl_jax.numerals.equations.expressions import Value, evaluate, number_of
from ntl_jax.numerals.equations.lexer import Tokens, tokenize
from ntl_jax.numerals.equations.results import is_cut_off, is_rounded, is_same, numeral_of, rounded
from ntl_jax.numerals.equations.surroundings import ALWAYS, IF_CONFIRMED, NEVER, trust_before, trust_behind
from ntl_jax.numerals.equations.symbols import RELATION, UNKNOWN, plain_text, without_bullet
from ntl_jax.numerals.equations.units import UNIT, is_conversion, trust_units, without_units
from ntl_jax.numerals.equations.words import LETTERS, OPERATOR, kind_of_word
from ntl_jax.numerals.spans import Numeral, read_numeral

MAX_LINE = 50_000
LINES_KEPT = 1024  # cache size: samples of one prompt have many lines in common

_OPERAND = rf"[-s(\[]*+n%*+[)\]E%]*+{UNIT}?+[)\]E]*+"
_COMPUTATION = re.compile(rf"(?<![-s(\[]){_OPERAND}(?:[-+*/asmdejPMTDfF]{_OPERAND})*+(?P<equals>=)?+")
_RESULT = re.compile(r"[(\[]*+(?P<sign>[-s]?)(?P<number>n)(?P<percent>%?)[)\]]*+")
_FORMULA = re.compile(r"[0-9+*/-]+")
_QUOTIENT = frozenset("/dDF")
_WORDS = frozenset(LETTERS)
_LISTED = re.compile("n[-s+a]n[^)]")  # 2 - 5 * 6 = 30, where 2 is the number of a line
_CLOSE_BY = 8
"""Largest number of tokens between the equals sign in ``<<...>>`` and ``>>``."""

# An equals sign followed by a number, with any marks in between.
_WITH_RESULT = re.compile(r"=(?:\\[a-zA-Z]++|[^\w=\n])*+[0-9]")
_EQUALS_FIRST = re.compile(r"(?:[^\S\n]|[&$]|\\q?quad(?![a-z])|\\[(\[])*+=(?!=)")
_LINE_END = re.compile(r"(?:\\\\)?[^\S\n]*+\n")
# How an expression goes on over the end of a line: an operator, and between it and the line's end what means nothing.
_SPACE = r"(?:hfill|newline|nonumber|notag|q?quad|h?phantom|hspace|text|mathrm)(?![a-z])(?:\{(?:[^{}\n\w]|\dem)*+\})?+"
_NOTHING = (
    rf"(?:[\s&$`~_]|\*\*|\{{\}}|</?[a-z]{{1,6}}\s*/?>|>|\\(?:[\[\]();,:! ]|{_SPACE}|\\(?:\[[^\]\n]{{0,12}}\])?))*+"
)
_OPERATOR = r"(?:[+×÷/·⋅]|\\(?:times|cdot|div|ast|pm|mp|bmod|mod)(?![a-z]))"
_OPEN_END = re.compile(
    rf"(?:(?<![*\w.:!?])\*(?!\*)|(?<=[0-9])\*(?!\*)|(?<!-)-|[−–—^{{]|{_OPERATOR}|(?<!\\)\(|[0-9]\s?[xX]"
    rf"|\b(?:of|plus|minus|times|by|per|less|than|half|twice|double|mod)|\b(?P<word>[A-Za-z]{{3,16}})){_NOTHING}\Z"
)
_TAIL = 48
"""Characters at the end of the text before a line that are looked at."""
_MOST_BLANKS = 512
_CLOSES = frozenset("0123456789.,:;!?")
_OPERATOR_FIRST = re.compile(
    rf"{_NOTHING}(?:(?P<operator>{_OPERATOR}|(?<=[&d])\s*+[-−]|(?:plus|minus|times|less|divided|multiplied)\b|x\s*+[0-9])"
    r"|[-−*–]\s*+[($0-9])"
)
_OTHER_ARITHMETIC = re.compile(r"mod(?:\b|ul(?:o|ar|us))|\bbase[ -]?(?:[0-9]|two|five|eight)")


class Equation(NamedTuple):
    """A result as it is written in the text, and what it should have been.

    Example:
        >>> [(e.result.canonical, e.truth.canonical) for e in find_equations("half: 48/2=<<48/2=25>>25, 1/3 = .34")]
        [('25', '24'), ('25', '24'), ('0.34', '0.33')]
    """

    result: Numeral
    truth: Numeral


class _Computation(NamedTuple):
    """The left-hand side of an equation: its tokens, its value, and how far it can be trusted."""

    start: int
    end: int
    value: Value
    trust: int


def find_equations(text: str) -> Iterator[Equation]:
    r"""The results of all equations in a text, from left to right.

    Args:
        text: any text; the time is linear in its length.

    Example:
        >>> [e.truth.canonical for e in find_equations("(1,200+300)*20% = $310 and 2x+3=7, 5-7=-3")]
        ['300', '-2']
        >>> [e.truth.canonical for e in find_equations(r"\(3 \cdot 18 - 1 = \boxed{54} \text{ cm}\)")]
        ['53']
    """
    other_arithmetic = _OTHER_ARITHMETIC.search(text) if "mod" in text or "base" in text else None
    for start, end in _lines(text):
        line = text[start:end]
        if "\n" in line:
            line = _LINE_END.sub(_blank, line)
        line = without_bullet(plain_text(line))
        before = text[max(0, start - _MOST_BLANKS) : start].rstrip()[-_TAIL:]
        may_be_open = before and (before[-1] not in _CLOSES or before[-2:-1] == "\\")
        if may_be_open and (open_end := _OPEN_END.search(before)):
            word = open_end["word"]
            if word is None or kind_of_word(word) == OPERATOR:
                line, start = (RELATION if word else UNKNOWN) + line, start - 1
        if goes_on := _OPERATOR_FIRST.match(text, end):
            line += UNKNOWN if goes_on["operator"] else RELATION
        is_doubtful = other_arithmetic is not None and other_arithmetic.start() < start
        for result, truth in _equations_of_line(line):
            if is_doubtful and truth is not result:
                continue
            offsets = tuple([start + offset for offset in result.offsets])
            yield Equation(Numeral(result.digits, offsets, result.num_integer, result.negative), truth)


@functools.lru_cache(LINES_KEPT)
def _equations_of_line(line: str) -> tuple[Equation, ...]:
    return tuple(_equations(tokenize(line)))


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of lines that may contain equations; a line that starts with an equals sign joins the previous."""
    end = 0
    while found := _WITH_RESULT.search(text, end):
        start = text.rfind("\n", 0, found.start()) + 1
        if start > end and _EQUALS_FIRST.match(text, start):
            start = text.rfind("\n", 0, start - 1) + 1
        end = _end_of_line(text, found.end())
        while end < len(text) and _EQUALS_FIRST.match(text, end + 1):
            end = _end_of_line(text, end + 1)
        if end - start <= MAX_LINE:
            yield start, end


def _end_of_line(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _equations(tokens: Tokens) -> Iterator[Equation]:
    kinds = tokens.kinds
    in_front = None
    for match in _COMPUTATION.finditer(kinds):
        if not match["equals"]:
            continue
        start, behind = match.start(), match.end()
        computation = _computation(tokens, start, behind - 1)
        if kinds[behind : behind + 1] == "<":
            in_front = computation
        elif start and kinds[start - 1] == "<":
            if in_front and in_front.end + 2 == start:
                computation = _agreed(in_front, computation)
            in_front = None
            if computation:
                yield from _result(tokens, behind, computation)
                end = kinds.find(">", behind, behind + _CLOSE_BY)
                if end >= 0:
                    yield from _result(tokens, end + 1, computation)
        elif computation:
            yield from _result(tokens, behind, computation)


def _agreed(in_front: _Computation, inside: _Computation | None) -> _Computation | None:
    """The computation of a text and its ``<<...>>``; None if they disagree."""
    if inside is None:  # <<60=60>>, which contains no computation
        return in_front._replace(trust=min(in_front.trust, IF_CONFIRMED))
    if in_front.trust == NEVER:
        return inside
    return inside if in_front.value.number == inside.value.number else None


def _computation(tokens: Tokens, start: int, end: int) -> _Computation | None:
    """The computation in tokens ``start`` to ``end``; None unless they are one, with at least two numbers."""
    kinds = tokens.kinds[start:end]
    if kinds.count("n") < 2:
        return None
    bare = without_units(kinds)
    numerals = [tokens.word(start + i) for i, kind in enumerate(kinds) if kind == "n"]
    if (value := evaluate(bare, numerals)) is None:
        return None
    trust = trust_before(tokens, start)
    written = tokens.text[tokens.start(start) : tokens.end(end - 1)]
    if trust and (_is_in_text(tokens, start) or not _FORMULA.fullmatch(written)):
        trust = min(trust, trust_reading(bare, written))
    if trust and "z" in tokens.kinds:
        trust = IF_CONFIRMED
    return _Computation(start, end, value, trust)


def _result(tokens: Tokens, at: int, computation: _Computation) -> Iterator[Equation]:
    """The equation whose result starts at token ``at``, if that is a numeral and its true value is certain."""
    match = _RESULT.match(tokens.kinds, at)
    if not match or computation.trust == NEVER:
        return
    start, end, (number, is_percent), trust = computation
    trust = min(trust, trust_behind(tokens, match.end()))
    trust = trust and min(trust, trust_units(tokens, start, end, match.end() - 1))
    if is_percent != bool(match["percent"]):  # 3/4 = 75%, and 3/4*100 = 75% too
        if is_percent or "%" not in tokens.kinds[start:end]:
            return
        trust, is_percent = min(trust, IF_CONFIRMED), True
    if trust == NEVER:
        return
    index = match.start("number")
    result = read_numeral(tokens.matches[index], negative=bool(match["sign"]))
    num_decimals = len(result.digits) - result.num_integer
    value = number * 100 if is_percent else number
    truth = rounded(value, num_decimals)
    if (written := number_of(tokens.word(index))) is None:
        return
    written = -written if result.negative else written
    if truth == written:
        yield Equation(result, result)
    elif trust == ALWAYS and not (
        is_same(value, written)
        or (_is_in_text(tokens, start) and is_rounded(value, written, num_decimals))
        or (value < 0 < written and _is_loss(tokens.kinds, match))
        or is_point_of_thousands(tokens.word(index), value)
        or ("%" in tokens.kinds[start:end] and written == value * 100)
        or is_conversion(tokens, start, index, value, written)
        or _is_meant_otherwise(tokens, computation, index, value, written)
    ):
        yield Equation(result, numeral_of(truth))


def _is_meant_otherwise(
    tokens: Tokens, computation: _Computation, result: int, value: int | Fraction, written: int | Fraction
) -> bool:
    """Whether a result that is not the value may be right: cut off, of a share, a range, the clock or a list's item."""
    start, end = computation.start, computation.end
    kinds = without_units(tokens.kinds[start:end]).strip("()")
    numerals = [tokens.word(index) for index in (*range(start, end), result) if tokens.kinds[index] == "n"]
    if not start and _LISTED.match(kinds) and evaluate(kinds[2:], numerals[1:]) == Value(written, False):
        return True
    return _is_in_text(tokens, start) and (
        (is_cut_off(value, written) and not _QUOTIENT.isdisjoint(kinds))
        or is_other_than_computed(kinds, number_of(numerals[0]) or 0, value, written)
        or is_time_of_day(kinds, numerals, value, written)
    )


def _is_in_text(tokens: Tokens, start: int) -> bool:
    """Whether an equation stands in a text, which may round its results, and is not a bare formula: ``1/8=0.13``."""
    return start > 0 or " " in tokens.text


def _is_loss(kinds: str, result: re.Match[str]) -> bool:
    """Whether a result without a minus may be negative: ``12 - 20 = (8)``, ``12 - 20 = 8 short``."""
    return result[0][0] in "([" or kinds[result.end() : result.end() + 1] in _WORDS
