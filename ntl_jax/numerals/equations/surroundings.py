# SPDX-License-Identifier: Apache-2.0
"""The text before an expression and after a result: whether they are complete without it.

The rules are conservative. Next to an operator, or text that may be one, an equation is not trusted (`NEVER`). Next to
an unknown word it is trusted if the written result agrees (`IF_CONFIRMED`). At a clause boundary, or after a plain word
such as `costs`, it is trusted (`ALWAYS`).
"""

import re

from ntl_jax.numerals.equations import words
from ntl_jax.numerals.equations.lexer import Tokens

NEVER, IF_CONFIRMED, ALWAYS = range(3)

_WORDS = frozenset(words.LETTERS)
_DOUBTFUL_BEFORE = frozenset(words.OPERATOR + words.OF + words.PER + words.MULTIPLIER + words.BASE + "PMTDQ%")
_NAMES_A_NUMBER = frozenset(words.LABEL + words.MEASURE + words.VARIABLE + words.REMAINDER)
_NOUNS_OF_SUMS = frozenset(("total", "cost", "price", "profit", "amount"))
_OPERAND_ENDS = frozenset("n%)]E")
_SEPARATORS = frozenset(".,;:→⇒∴\n")
_OPERATORS = frozenset("+-*/asmdejPMTDfQ")
_CHANGES_THE_NUMBER = frozenset("QPMD" + words.BASE + words.MULTIPLIER)
_GOES_ON = frozenset("+*asmjF")
_MOST_WORDS = 16  # how many words of a clause are examined
_FEW_WORDS = 4
_LONGEST_ABBREVIATION = 3
_FRACTION = re.compile(r"\(?n[/dF]n")
_NEXT_CLAUSE = re.compile(r"[wlcki]{0,16}+[p,)]++(?:[?=(]*+(?P<goes_on>[+*/asmdjPMTDfQF])|(?P<cut>\?\Z)|[-e]|b\Z)")
_ASIDE = re.compile(r"(?:\([kwlc]++\))++")  # (apples)
_COMPOUND = re.compile("[wcl]{1,2}(?:[,p(i]{1,2}[no][wcl]|ikc)|,nc")  # 1 hour, 15 minutes
_MORE_OF_THE_NUMBER = re.compile(rf"\(?n(?:[/dF]n|[p,{words.LETTERS}]|\Z)")


def trust_before(tokens: Tokens, start: int) -> int:
    """How far the expression that starts at token ``start`` can be trusted to be complete."""
    kinds = tokens.kinds
    before = kinds[start - 1] if start else "p"
    if before in _WORDS:
        return _trust_after_words(tokens, start)
    if before == "," and kinds[start - 2 : start - 1] == "n" and _is_thousands(tokens.word(start)):  # 14, 400 / 80
        return NEVER
    if before in "p," and start > 1 and (_is_name(tokens, start) or _is_named_by_operator(tokens, start)):
        return IF_CONFIRMED
    if before == ">" and "<" not in kinds[:start]:  # 3 >> 4 + 5
        return NEVER
    if before in "p,b<" and _stands_between_operands(tokens, start):
        return NEVER
    if before in "p,b":
        is_signed = kinds[start] in "-s"
        return (NEVER if is_signed else IF_CONFIRMED) if before == "b" else (IF_CONFIRMED if is_signed else ALWAYS)
    return ALWAYS if before in "=<>" else NEVER


def _stands_between_operands(tokens: Tokens, start: int) -> bool:
    """Whether the mark before token ``start`` is between two numbers, so that it may be an operator: 3 ! 4 + 5."""
    first = len(tokens.kinds[:start].rstrip("p,b<"))
    if not first or tokens.kinds[first - 1] not in _OPERAND_ENDS:
        return first > 0 and (
            tokens.kinds[first - 1] in _OPERATORS or (first == 1 and tokens.kinds[0] == "?")
        )  # .8 + . 84
    marks = {tokens.word(index) for index in range(first, start)}
    return not marks <= _SEPARATORS or tokens.text.startswith(" . ", tokens.end(first - 1))


def _trust_after_words(tokens: Tokens, start: int) -> int:
    kinds = tokens.kinds
    first = start
    while first and start - first < _MOST_WORDS and kinds[first - 1] in _WORDS:
        first -= 1
    clause = kinds[first:start]
    behind = kinds[first - 1] if first else "p"
    last = clause[-1]
    if kinds[start] in "-s" or last in _NAMES_A_NUMBER or behind in _OPERATORS or behind == "?":
        return NEVER
    if last == words.OF and len(clause) > 1 and tokens.word(start - 2).lower() in _NOUNS_OF_SUMS:  # a total of 3 + 4
        clause = clause[:-1]
        return NEVER if _DOUBTFUL_BEFORE.intersection(clause) else IF_CONFIRMED
    if last in _DOUBTFUL_BEFORE:
        return NEVER
    if behind in _OPERAND_ENDS and (clause == words.UNKNOWN or words.LINK in clause[-2:]):  # 10 florp 3 + 4
        is_between_formulas = "$" == tokens.text[tokens.end(first - 1)] == tokens.text[tokens.start(start) - 1]
        return IF_CONFIRMED if is_between_formulas else NEVER
    if last != words.PLAIN or _DOUBTFUL_BEFORE.intersection(clause):
        return IF_CONFIRMED
    return ALWAYS


def trust_behind(tokens: Tokens, end: int) -> int:
    """How far the result that ends before token ``end`` can be trusted to be complete."""
    kinds = tokens.kinds
    behind = kinds[end : end + 1]
    if not behind:
        return ALWAYS
    text, at = tokens.text, tokens.end(end - 1)
    if behind in "<>":
        return ALWAYS if behind == ">" and "<" in kinds[:end] else NEVER
    if behind in "=b":
        return IF_CONFIRMED if behind == "b" and kinds[end:].lstrip("b")[:1] in ("n", "(", "") else ALWAYS
    if behind == "p":
        if text[at] == "." and kinds[end + 1 : end + 2] in ("?", "(") and not text[at + 1].isspace():  # 0.(6)
            return NEVER
        if text[at : at + 3].lstrip().startswith(("!", "..", "…")):
            return IF_CONFIRMED
        return _trust_in_the_rest(kinds, end)
    if behind == ",":
        if kinds[end + 1 : end + 2] == "?":  # 1,\!200
            return NEVER
        is_split = _COMPOUND.match(kinds, end) or (
            kinds[end + 1 : end + 2] == "n" and _is_thousands(tokens.word(end + 1))
        )
        return IF_CONFIRMED if is_split else _trust_in_the_rest(kinds, end)
    if behind == "(":
        if aside := _ASIDE.match(kinds, end):  # 8 (apples)
            return trust_behind(tokens, aside.end())
        return NEVER if kinds.startswith("(nF", end) else IF_CONFIRMED  # 7\\frac{1}{2}, 6 (hundred)
    if behind in "-e" and kinds[end + 1 : end + 2] in ("w", "k", "i", "l"):  # a dash
        return IF_CONFIRMED
    if behind in "/dh" and kinds[end + 1 : end + 2] in ("w", "c", "l"):  # $8/hour
        return _trust_behind_words(tokens, end + 1)
    return _trust_behind_words(tokens, end) if behind in _WORDS else NEVER


def _trust_behind_words(tokens: Tokens, end: int) -> int:
    kinds = tokens.kinds
    first = kinds[end]
    stop = end
    while stop < len(kinds) and stop - end < _MOST_WORDS and kinds[stop] in _WORDS:
        stop += 1
    behind = kinds[stop : stop + 1]
    if first in _CHANGES_THE_NUMBER or (first == "T" and behind in ("n", "(", "[")):
        return NEVER
    if behind in _GOES_ON or (behind in ("-", "/", "d", "e") and kinds[stop + 1 : stop + 2] in ("n", "(")):
        return NEVER
    if first == words.VARIABLE or (
        first == words.MEASURE and len(tokens.word(end)) == 1 and tokens.word(end).isalpha()
    ):
        is_apart = tokens.text[tokens.end(end - 1)].isspace()
        return IF_CONFIRMED if is_apart else NEVER
    if first == words.LINK and _FRACTION.match(kinds, stop):  # 16 and 2/3
        return NEVER
    if (
        behind == "?" or _COMPOUND.match(kinds, end) or (stop - end <= 2 and _MORE_OF_THE_NUMBER.match(kinds, stop))
    ):  # 5 feet 3 inches
        return IF_CONFIRMED
    if first in "Tfr%" or words.OPERATOR in kinds[end : min(stop, end + _FEW_WORDS)]:  # 3 and a half
        return IF_CONFIRMED
    return _trust_in_the_rest(kinds, end)


def _trust_in_the_rest(kinds: str, end: int) -> int:
    """The next clause may go on with an operator; that the result is rounded, or a remainder, may be said later."""
    if next_clause := _NEXT_CLAUSE.match(kinds, end):
        return NEVER if next_clause["goes_on"] or next_clause["cut"] else IF_CONFIRMED
    return IF_CONFIRMED if words.REMAINDER in kinds[end : end + _MOST_WORDS] else ALWAYS


def _is_name(tokens: Tokens, start: int) -> bool:
    """Whether the number at token ``start`` may be a name or a score: No. 3, A.M. 3, pages: 5-7."""
    last = tokens.kinds[start - 2]
    if last == words.LABEL and tokens.kinds.startswith(("nsn=", "nen="), start):
        return True
    is_short = last in _WORDS and last != words.PLAIN and len(tokens.word(start - 2)) <= _LONGEST_ABBREVIATION
    return is_short and tokens.word(start - 1) == "."


def _is_named_by_operator(tokens: Tokens, start: int) -> bool:
    """Whether the words before a colon or comma describe a further operation: average: 3 + 4 = 3.5."""
    if tokens.word(start - 1) not in (":", ","):
        return False
    first = start - 1
    while first and start - first < _MOST_WORDS and tokens.kinds[first - 1] in _WORDS:
        first -= 1
    return words.OPERATOR in tokens.kinds[first:start]


def _is_thousands(numeral: str) -> bool:
    return len(numeral) == 3 and numeral.isdigit()
