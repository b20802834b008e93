# SPDX-License-Identifier: Apache-2.0
"""Plain text as tokens. Each kind of token is one letter, so expressions are matched by regular expressions on kinds.

| letter | token |
|---|---|
| `n` | a numeral |
| `+ - * /` | an operator; `a s m d` without blanks beside it; `e` a dash; `j` the implied product in ``2(3+4)`` |
| `( ) [ ]`, `F`, `E` | brackets; the bar and the end of a fraction |
| `% = < >` | percent, equals, ``<<`` and ``>>`` |
| `p`, `,`, `b` | the end of a clause; a comma; the end of a clause or an operator |
| `?` | anything else |
| others | words, see `ntl_jax.numerals.equations.words` |
"""

import re
import unicodedata
from typing import NamedTuple

from ntl_jax.numerals.equations import words
from ntl_jax.numerals.equations.symbols import END, OVER, RELATION, UNKNOWN
from ntl_jax.numerals.spans import UNSIGNED

_SPACED = {
    **dict.fromkeys("*×·✕✖\N{DOT OPERATOR}\N{ASTERISK OPERATOR}", "*"),
    **dict.fromkeys("/÷\N{DIVISION SLASH}\N{FRACTION SLASH}", "/"),
    "-": "-", "\N{MINUS SIGN}": "-", "+": "+", "\N{EN DASH}": "e",
}  # fmt: skip
_OPERATORS = re.escape("".join(_SPACED))
_LETTER = r"[^\W\d_]"
_TOKEN = re.compile(
    rf"\s*+(?:(?P<word>(?:divided|multiplied)\s++by\b|{_LETTER}++(?:['’-]{_LETTER}++)*+|[°¢])"
    rf"|{UNSIGNED}|(?P<currency>[$€£¥])|(?P<group><<|>>|==|\.\.|::|%%|\+-|-\+|-{{2,3}}(?=\s))"
    rf"|(?P<operator>[{_OPERATORS}])|(?P<mark>.))",
    re.DOTALL,
)
_TIGHT = {"*": "m", "/": "d", "-": "s", "+": "a", "e": "e"}
_MARKS = {
    "(": "(", ")": ")", "[": "[", "]": "]", OVER: "F", END: "E", "%": "%", "=": "=", "<<": "<", ">>": ">", ",": ",",
    **dict.fromkeys((*".:;!?#\"“”→⇒∴—…\n", "..", "--", "---"), "p"),
    **dict.fromkeys((RELATION, "<", ">", "≈", "≤", "≥"), "b"),
    UNKNOWN: "?",
}  # fmt: skip
_ZERO = re.compile(r"(?<![0-9.])0\Z")
_ENDS_OPERAND = frozenset("n%)]E")
_BEFORE_BRACKET = frozenset("+-*/asmdejF([p,b=<>?")  # what a bracket follows without becoming a factor or argument
_BEGINS_NUMBER = frozenset("0123456789$€£¥.")
_BEGINS_OPERAND = _BEGINS_NUMBER | {"("}


class Tokens(NamedTuple):
    """The tokens of a text: their kinds, one letter each, and their matches, whose last group is the token."""

    text: str
    kinds: str
    matches: list[re.Match[str]]

    def start(self, index: int) -> int:
        """Offset of a token's first character."""
        match = self.matches[index]
        return match.start(match.lastgroup or 0)

    def end(self, index: int) -> int:
        """Offset after a token's last character."""
        return self.matches[index].end()

    def word(self, index: int) -> str:
        """A token as written."""
        match = self.matches[index]
        return match[match.lastgroup or 0]


def tokenize(text: str) -> Tokens:
    """The tokens of plain text, in linear time.

    Example:
        >>> tokenize("It costs $5 + $3 = $8.").kinds, tokenize("2x+3*(4-x)").kinds
        ('kkn+n=np', 'n?anm(nsv)')
    """
    kinds, matches = [], []
    before = "p"
    for match in _TOKEN.finditer(text):
        group = match.lastgroup or ""
        if group == "digits":
            if before in words.LETTERS and not _is_spaced(match):  # x2
                kinds.append("?")
                matches.append(match)
            kind = "n"
        elif group == "operator":
            kind = _operator(match)
        elif group == "word":
            kind = _word(match, before)
            if before == words.OF and match["word"] == "the":
                continue
        elif group == "currency":
            before = "p"
            continue
        else:
            kind = _mark(match, group, before)
            if kind in "([" and before not in _BEFORE_BRACKET and not _is_spaced(match):  # 2(3), f(3)
                kinds.append("j" if before in _ENDS_OPERAND else "?")
                matches.append(match)
        kinds.append(kind)
        matches.append(match)
        before = kind
    return Tokens(text, "".join(kinds), matches)


def _is_spaced(match: re.Match[str]) -> bool:
    """Whether a token follows a blank or starts the text."""
    return not match.start() or match.start() != match.start(match.lastgroup or "")


def _operator(match: re.Match[str]) -> str:
    kind = _SPACED[match["operator"]]
    return kind if _is_spaced(match) or match.string[match.end() : match.end() + 1].isspace() else _TIGHT[kind]


def _word(match: re.Match[str], before: str) -> str:
    word = match["word"]
    if word in ("x", "X") and (before in _ENDS_OPERAND or before in "wlc"):
        spaced, after = _is_spaced(match), match.string[match.end() : match.end() + 2]
        if spaced and after[:1] == " " and after[1:] in _BEGINS_OPERAND:  # 3 x 4
            return "*"
        if not spaced and after[:1] in _BEGINS_NUMBER:  # 3x4, but not 0x4 and 4x(2)
            return "?" if _ZERO.search(match.string, max(0, match.start() - 2), match.start()) else "m"
    if before == "n" and not _is_spaced(match) and word.lower() not in words.MEASURES:  # 2x, 3rd
        return "?"
    return words.kind_of_word(word)


def _mark(match: re.Match[str], group: str, before: str) -> str:
    mark = match[group]
    kind = _MARKS.get(mark) or ("b" if unicodedata.category(mark[0]) == "So" else "?")  # an emoji
    if kind in "p," and mark in ".:,#" and match.string[match.end() : match.end() + 1].isdigit():
        return "?"
    if mark == ":" and before in _ENDS_OPERAND and _is_spaced(match):  # 3 : 2
        return "?"
    return kind
