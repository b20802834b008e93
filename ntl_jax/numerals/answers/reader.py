# SPDX-License-Identifier: Apache-2.0
r"""Reads the number of an answer: in a marked line, in a box, or in a reference.

The surrounding text decides how a number is read, so everything up to the end of its sentence is examined.

- Read: numerals with thousands separators (``,`` ``{,}`` ``,\!`` ``\,`` ``~`` or a space); fractions and mixed numbers
  (``2/3``, ``\frac{2}{3}``, ``1 1/2``, ``1½``); powers (``10^3``, ``10³``, ``1.5e3``, ``1.5 \times 10^3``); words such
  as ``million``. All but the first are read exactly and have no digits of their own.
- Stepped over: markup, currency, percent and degree signs, units with their exponents (``72 \text{ m}^2``).
- An equation (``220 + 90 = 310``, ``x = 5``) is read at its last equals sign.
- Not read, since the first number is not what is meant: ranges, ratios, times, dates, products, roots, functions,
  inequalities, factors (``2pi``, in a box ``3x``), repeating decimals, factorials in a box (elsewhere ``5!`` ends a
  sentence), dozens, compound measures (``5 feet 3 inches``, ``5h30``), decimal commas, misplaced thousands (``12,5``,
  ``1,20,000``). A comma or semicolon with a blank behind it ends the answer: ``72, 73`` is 72.

Time is linear in the length. Exact values beyond the limits are not read.
"""

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

from ntl_jax.numerals.answers.tokens import (
    MAX_TOKENS,
    NUMBERS,
    Token,
    Unreadable,
    exponent_of,
    mixed,
    power,
    ratio,
    tokens_of,
    value_of,
)
from ntl_jax.numerals.answers.words import (
    DOZENS,
    FUNCTIONS,
    IN_FRONT_OF_PARTS,
    JOINING_WORDS,
    PARTS,
    PREPOSITIONS,
    SPELLED,
    scale_of,
)

_POWERS = ("power", "caret", "superscript")
_JOINS = frozenset(("sign", "times", "slash", "power", "caret", "command", "odd", "aside", "equals"))
_CHANGES_VALUE = frozenset(("k", "K", "M", "B", "bn", "π", "pi", "squared", "cubed", "<", ">", "≤", "≥", "≠"))
_VARIABLE = re.compile("[xyz]{1,3}|[nXYZ]")
# Right at a number: letters that are no units, or a time's letter with its minutes; km2 is a unit.
_GLUED_FACTOR = re.compile(r"[xyz]{2,3}|[abc]{2,3}|[abeijknqruvwXYZ]|[^\W\d]+(?![23]$)[0-9]+")
_REPEATS = re.compile(r"\.(?:\((?=[0-9])|\\[A-Za-z])")
_SUBSCRIPT_OR_CALL = re.compile(r"_|\((?=[-+0-9])")


class Written(NamedTuple):
    """A number's position in a text; ``exact`` is its unsigned value if it is not a plain numeral."""

    start: int
    end: int
    negative: bool
    exact: Fraction | None


def read_field(text: str, start: int) -> Written | None:
    """The number in a line from ``start`` to the end of the line or the next ``#``; None if the text starts with none.

    Raises:
        Unreadable: see the module's description.

    Example:
        >>> read_field("#### 220 + 90 = $310.", 4)
        Written(start=17, end=20, negative=False, exact=None)
        >>> read_field("#### none, 7", 4) is None
        True
    """
    tokens = tokens_of(text, start, len(text), ends_with_line=True)
    while tokens and (tokens[0].lastgroup == "aside" or tokens[0][0] == "*"):  # (72), *72*
        del tokens[0]
    first = _behind_equals(tokens)
    reader = Reader(tokens[first:])
    if first == 0 and not reader.starts_with_number():
        _refuse_formula(tokens)
        return None
    return reader.read(only_number=False)


def read_box(text: str, start: int, end: int) -> Written | None:
    r"""The only number in ``text[start:end]``, the content of a box; None if it contains no number.

    Raises:
        Unreadable: see the module's description; also if there are several numbers.

    Example:
        >>> read_box(r"x = -\frac{1}{12} \text{ m}^2", 0, 29)
        Written(start=5, end=17, negative=True, exact=Fraction(1, 12))
    """
    tokens = [token for token in tokens_of(text, start, end) if token[0] != "\n"]
    if len(tokens) == MAX_TOKENS:
        raise Unreadable
    if all(token.lastgroup not in NUMBERS for token in tokens):
        return None
    last_equals = max((i for i, token in enumerate(tokens) if token.lastgroup == "equals"), default=-1)
    if any(token[0].lower() in (",", ";", "or", "and") for token in tokens[: max(last_equals, 0)]):  # x = 1, y = 2
        raise Unreadable
    tokens = tokens[last_equals + 1 :]
    _refuse_formula(tokens)
    while tokens and tokens[0].lastgroup in ("word", "pause", "aside"):
        del tokens[0]
    return Reader(tokens).read(only_number=True)


def read_reference(text: str) -> Written:
    """The number that makes up a text; units may follow it.

    Raises:
        Unreadable: the text is anything else.

    Example:
        >>> read_reference("-1/2").exact
        Fraction(1, 2)
    """
    start = len(text) - len(text.lstrip())
    return Reader(tokens_of(text, start, len(text.rstrip()))).read(only_number=True)


def _behind_equals(tokens: list[Token]) -> int:
    """Index after the last equals sign of the equation that a line starts with; 0 if it starts with none."""
    behind, joined = 0, True
    for i, token in enumerate(tokens):
        kind = token.lastgroup
        if (kind == "pause" and token[0] != ":") or token[0] in ("<", ">"):
            break
        if kind in NUMBERS and not joined:  # 72 because 3 + 4 = 7
            break
        if kind == "equals":
            behind = i + 1
        if behind and token[0].lower() in ("or", "and"):  # x = 1 or x = 2
            break
        joined = kind != "word" or token[0].lower() in JOINING_WORDS
    return behind


class Reader:
    """Reads the tokens of an answer from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens, self._next = tokens, 0

    def _kind(self, ahead: int = 0) -> str | None:
        index = self._next + ahead
        return self._tokens[index].lastgroup if index < len(self._tokens) else None

    def _take(self) -> Token:
        if self._kind() is None:
            raise Unreadable
        self._next += 1
        return self._tokens[self._next - 1]

    def starts_with_number(self) -> bool:
        """Whether a number comes next; also true for a root, an inequality or a number in another script."""
        ahead = 1 if self._kind() == "sign" else 0
        kind = self._kind(ahead)
        if kind == "odd":
            return unicodedata.category(self._tokens[ahead][0]) in ("Sm", "Nd")
        return kind in NUMBERS or kind == "command"

    def read(self, *, only_number: bool) -> Written:
        """The number at the current position."""
        negative = self._kind() == "sign" and self._take()[0] != "+"
        first = self._take()
        exact = self._fraction_behind(first)
        exact = self._power_behind(first, exact)
        while self._kind() == "word" and (scale := scale_of(self._tokens[self._next][0])):
            self._take()
            exact = (value_of(first) if exact is None else exact) * scale
            if self._kind() == "word" and self._tokens[self._next][0].lower() in SPELLED:  # 2 thousand five
                raise Unreadable
        self._check_rest(only_number=only_number)
        end = self._tokens[self._next - 1].end() if exact is not None else first.end()
        return Written(first.start(), end, negative, exact)

    def _fraction_behind(self, first: Token) -> Fraction | None:
        """The value of a fraction or mixed number that starts with this token; None for a plain numeral."""
        kinds = [self._kind(ahead) for ahead in range(3)]
        if first.lastgroup != "number":
            return value_of(first)
        if kinds[:2] == ["slash", "number"]:
            self._take()
            return ratio(value_of(first), value_of(self._take()))
        if kinds[0] in ("fraction", "vulgar"):
            return mixed(first, value_of(self._take()))
        if kinds == ["number", "slash", "number"]:
            above, _, below = self._take(), self._take(), self._take()
            return mixed(first, ratio(value_of(above), value_of(below)))
        return value_of(first) if first["tens"] else None

    def _power_behind(self, first: Token, exact: Fraction | None) -> Fraction | None:
        """The value after applying an exponent or a factor that is a power of ten."""
        if exact is None and self._kind() in _POWERS:
            return power(value_of(first), self._exponent())
        is_ten = self._kind(1) == "number" and self._tokens[self._next + 1][0] == "10"
        if self._kind() == "times" and is_ten and self._kind(2) in _POWERS:
            self._next += 2
            return (value_of(first) if exact is None else exact) * power(Fraction(10), self._exponent())
        return exact

    def _exponent(self) -> int:
        token = self._take()
        if token.lastgroup == "superscript":
            return exponent_of(token[0])
        sign = "-" if self._kind() == "sign" and self._take()[0] != "+" else ""
        exponent = self._take()
        if exponent.lastgroup != "number":
            raise Unreadable
        return exponent_of(sign + exponent[0])

    def _check_rest(self, *, only_number: bool) -> None:
        """Refuses what makes the number another one, or a second number; stops where the sentence does."""
        joined, in_exponent, words = True, False, list[str]()
        self._check_next(only_number=only_number)
        for token in self._tokens[self._next :]:
            kind, word = str(token.lastgroup), token[0].lower()
            if in_exponent and kind in ("sign", "number"):  # of a unit
                in_exponent = kind == "sign"
                continue
            in_exponent = kind == "caret" and bool(words)
            if kind in NUMBERS:
                if joined or only_number:
                    raise Unreadable
                return
            if not words and (kind in ("command", "superscript") or _changes_value(token[0])):
                raise Unreadable
            if word in PARTS and IN_FRONT_OF_PARTS.issuperset(words) and (words or word != "quarters"):  # 5 and a half
                raise Unreadable
            if only_number and _VARIABLE.fullmatch(token[0]):  # 2x
                raise Unreadable
            if kind in ("pause", "aside") and not only_number:
                return
            if kind == "word":
                words.append(word)
                joined = word in JOINING_WORDS or (len(words) == 1 and word not in PREPOSITIONS)
            elif kind in _JOINS:
                joined = True

    def _check_next(self, *, only_number: bool) -> None:
        """Refuses what belongs to the number by what stands right behind it: 2pi, 5 + x, 3 sqrt(2), 5h30, 0.(3), 5!."""
        if self._kind() is None:
            return
        token, kind = self._tokens[self._next], self._kind()
        is_glued = token.start() == self._tokens[self._next - 1].end()
        word_behind = self._tokens[self._next + 1][0] if self._kind(1) == "word" else None
        if kind == "word":
            is_factor = token[0].lower() in FUNCTIONS | DOZENS or (only_number and _VARIABLE.fullmatch(token[0]))
            refused = is_factor or (is_glued and _GLUED_FACTOR.fullmatch(token[0]))
        elif word_behind:
            refused = kind == "times" or token[0] == "+" or (kind == "sign" and _VARIABLE.fullmatch(word_behind))
        else:
            repeats = _REPEATS.match(token.string, token.start()) and self._kind(1) in ("number", "command")
            refused = is_glued and (repeats or (only_number and token[0] == "!"))
        if refused:
            raise Unreadable


def _refuse_formula(tokens: list[Token]) -> None:
    """Raises Unreadable where a function or variable stands first, whose number is no answer: sqrt(9), x > 72, x_1."""
    if tokens and tokens[0].lastgroup == "sign":
        tokens = tokens[1:]
    if not tokens or tokens[0].lastgroup != "word":
        return
    word, behind = tokens[0], tokens[1] if len(tokens) > 1 else None
    kind, is_variable = behind and behind.lastgroup, len(word[0]) == 1
    if word[0].lower() in FUNCTIONS or _SUBSCRIPT_OR_CALL.match(word.string, word.end()):
        raise Unreadable
    if behind and (behind[0] in _CHANGES_VALUE or (is_variable and kind in (*_POWERS, "command", "sign", "times"))):
        raise Unreadable


def _changes_value(text: str) -> bool:
    """Whether this text after a number changes it: 5k, 16 R2, a digit of another script."""
    return text in _CHANGES_VALUE or text.isdecimal() or re.fullmatch("[rR][0-9]+", text) is not None
