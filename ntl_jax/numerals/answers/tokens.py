# SPDX-License-Identifier: Apache-2.0
"""The tokens of answers, and the exact values of numeric tokens, for ``reader.py``."""

import itertools
import re
import unicodedata
from fractions import Fraction

MINUS = ("-", "\N{MINUS SIGN}")
CURRENCY = r"(?:\\?[$€£])"
MAX_EXACT_DIGITS = 18
MAX_EXPONENT = 64
MAX_TOKENS = 256
"""Later tokens are ignored; a box with this many tokens is not read."""

_SEPARATOR = r"\{,\}|,\\!|,|\\[,;: ]|~|[ \u00a0\u2009\u202f]"
_THOUSANDS = rf"[1-9][0-9]{{0,2}}(?P<separator>{_SEPARATOR})[0-9]{{3}}(?:(?P=separator)[0-9]{{3}})*+(?![0-9])"
_SIMPLE = r"[-+\N{MINUS SIGN}]?[0-9]{1,18}(?:\.[0-9]{1,18})?"
_ABOVE, _BELOW = (rf"\s*+(?:\{{\s*+(?P<{n}>{_SIMPLE})\s*+\}}|(?P<{n}_digit>[0-9]))" for n in ("above", "below"))
_STYLES = (
    "text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname|mbox|fbox|left|right|[bB]igg?[lr]?"
    "|displaystyle|q?quad|circ|degree|pounds|euro"
)
_TOKEN = re.compile(
    rf"(?P<fraction>\\[dtc]?frac{_ABOVE}{_BELOW})"
    rf"|(?P<number>(?:{_THOUSANDS}|[0-9]++)(?:\.[0-9]++)?(?:[eE](?P<tens>[-+]?[0-9]++)(?!\w))?|(?<![\w.])\.[0-9]++)"
    r"|(?P<vulgar>[¼-¾⅐-⅞])|(?P<superscript>[⁺⁻]?[⁰¹²³⁴-⁹]++)"
    r"|(?P<power>(?<=[0-9])\*\*(?=[-+]?[0-9]))"
    rf"|(?P<skip>[^\S\n]++|\\[,;:! (){{}}\[\]\\]|\\(?:{_STYLES})(?![A-Za-z])|\^\s*+\{{?\\circ\}}?|{CURRENCY}|\\?%|°"
    r"|</?[A-Za-z]{1,20}/?>|<\|\w{1,40}\|>"  # HTML and special tokens
    r"|<<|>>(?!.?[0-9])|\*\*|\*(?![^\S\n]*+[$0-9.(])|[~_`\"'{})\[\]&]|(?<!\s)\()"
    r"|(?P<aside>\(|\\boxed(?![A-Za-z]))|(?P<caret>\^)|(?P<equals>[=≈]|\\approx(?![A-Za-z])|>>)"
    r"|(?P<sign>[-+\N{MINUS SIGN}\N{EN DASH}])"
    r"|(?P<times>[*×·⋅÷]|\\(?:div|times|cdot)(?![A-Za-z])|[xX](?=[^\S\n]*+[$0-9]))"
    r"|(?P<slash>[/\N{FRACTION SLASH}\N{DIVISION SLASH}])"
    r"|(?P<pause>[.,;?!](?![0-9])|:(?![^\S\n]*+[0-9])|[\n#])"
    r"|(?P<command>\\[A-Za-z]++)|(?P<word>[^\W\d_]++[0-9]*+)|(?P<odd>.)",
    re.DOTALL,
)
NUMBERS = frozenset(("number", "fraction", "vulgar"))
"""Kinds of tokens that have a value."""

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")

Token = re.Match[str]
"""A token; its kind is its ``lastgroup``."""


class Unreadable(ValueError):
    """The answer starts with a number but is not a single number."""


def tokens_of(text: str, start: int, end: int, *, ends_with_line: bool = False) -> list[Token]:
    """The first tokens of ``text[start:end]``; with ``ends_with_line``, of its first line up to a ``#``."""
    tokens = (token for token in _TOKEN.finditer(text, start, end) if token.lastgroup != "skip")
    if ends_with_line:
        tokens = itertools.takewhile(lambda token: token[0] not in ("\n", "#"), tokens)
    return [*itertools.islice(tokens, MAX_TOKENS)]


def value_of(token: Token) -> Fraction:
    """A token's value without sign; raises Unreadable if it has none or exceeds the limits."""
    match token.lastgroup:
        case "number":
            plain = re.sub(r"[^0-9.]", "", re.split("[eE]", token[0])[0])
            if len(plain) > MAX_EXACT_DIGITS:
                raise Unreadable
            return Fraction(plain) * power(Fraction(10), exponent_of(token["tens"] or "0"))
        case "vulgar":
            return Fraction(unicodedata.numeric(token[0])).limit_denominator(100)
        case "fraction":
            above, below = (token[name] or token[f"{name}_digit"] for name in ("above", "below"))
            return ratio(*(Fraction(part.replace("\N{MINUS SIGN}", "-")) for part in (above, below)))
    raise Unreadable


def ratio(above: Fraction, below: Fraction) -> Fraction:
    """The quotient; raises Unreadable for a denominator of 0."""
    if below == 0:
        raise Unreadable
    return above / below


def mixed(whole: Token, part: Fraction) -> Fraction:
    """The value of a mixed number."""
    value = value_of(whole)
    if value.denominator != 1 or not 0 < part < 1:  # 2 \frac{5}{3} may be a product
        raise Unreadable
    return value + part


def exponent_of(text: str) -> int:
    """The integer of an exponent, in digits or superscripts."""
    text = text.translate(_SUPERSCRIPTS)
    if not re.fullmatch("[-+]?[0-9]{1,3}", text) or abs(int(text)) > MAX_EXPONENT:
        raise Unreadable
    return int(text)


def power(base: Fraction, exponent: int) -> Fraction:
    """The base to the exponent; raises Unreadable if that is undefined."""
    if base == 0 and exponent <= 0:
        raise Unreadable
    return Fraction(base**exponent)
