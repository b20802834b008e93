# SPDX-License-Identifier: Apache-2.0
r"""The answer of a text: where it stands, which number or text it is, and whether it is the reference's.

This is the only reader of answers; how a text marks its answer is an argument, `AnswerMarkers`.
"""

import collections
import contextlib
import functools
import itertools
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from ntl_jax.numerals.answers.last_number import read_last
from ntl_jax.numerals.answers.reader import Written, read_box, read_field, read_reference
from ntl_jax.numerals.answers.tokens import Unreadable
from ntl_jax.numerals.spans import Numeral, find_numerals, numeral_of

_BRACE = re.compile(r"[{}]")
# Of a box, in a pair of braces of which the closing one is left out already, with or without a command for text.
_CONTENT = re.compile(r"\s*+\{(?:\s*\\(?:text|textbf|textit|mathrm|mathbf)\{([^{}]*)\}\s*|(.*))", re.DOTALL)


class AnswerMarkers(NamedTuple):
    r"""How a text marks its answer.

    Args:
        line: the answer is what follows this text on its line; the first such line with an answer counts. None: no line
            is marked.
        box: the answer is in the braces of this LaTeX command; the last one counts, and only if no line is marked.
            None: boxes are ignored.

    Example:
        >>> find_answer("Answer: 7, not 8", AnswerMarkers(line="Answer:")).text
        '7'
    """

    line: str | None = "####"
    box: str | None = "\\boxed"


DEFAULT_MARKERS = AnswerMarkers()


class Answer(NamedTuple):
    """The answer that a text gives.

    Args:
        text: in canonical form: equal numbers are equal texts; other answers are as written, with single spaces.
        value: None if the answer is no number, or one of too many digits to be computed with.
        start, end: the answer's first character in the text and the one after its last; a sign is not included.
        marked: it stands at a marker; otherwise it is the last number of the text.
        numeral: the number with its digits; None if the answer is no number.

    Example:
        >>> answer = find_answer("so she pays\\n#### $1,272.00.")
        >>> answer.text, answer.value, answer.start, answer.end, answer.marked
        ('1272', Fraction(1272, 1), 18, 26, True)
    """

    text: str
    value: Fraction | None
    start: int
    end: int
    marked: bool
    numeral: Numeral | None = None


def find_answer(text: str, markers: AnswerMarkers = DEFAULT_MARKERS) -> Answer | None:
    r"""The number a text gives as its answer: the marked one, else its last.

    Of several marked lines the first with a number counts, as GSM8K's own scorer reads them: the marker ends the
    solution, so what a policy writes after it cannot change the answer. Of several boxes the last counts, as is the
    custom for that notation, where earlier boxes hold steps; a box that the length limit cut off reaches to the end.

    None where the text holds no number, and where what it marks is not one number. Without a mark, what is tied to the
    last number is read with it (``72 m^2``, ``1.5 million``); where that is not one number, the last one stands alone.
    For the reading rules see ``reader.py``.

    Example:
        >>> find_answer("2 * 36 = 72\n#### $72.00\n#### 5").text
        '72'
        >>> find_answer(r"of 9, \boxed{\text{about } {-7}\%}, or 8").text
        '-7'
        >>> find_answer("2 * 36 = 72, so 72.").start, find_answer("there is none") is None
        (16, True)
        >>> find_answer("#### 3:30") is None, find_answer("either 6 or 7\n#### 6-7") is None
        (True, True)
    """
    try:
        if written := _marked_number(text, markers):
            return _answer(text, written, marked=True)
    except Unreadable:
        return None
    with contextlib.suppress(Unreadable):
        if written := read_last(text):
            return _answer(text, written, marked=False)
    last = collections.deque(find_numerals(text), maxlen=1)
    if not last:
        return None
    return Answer(last[0].canonical, last[0].value, last[0].offsets[0], last[0].offsets[-1] + 1, False, last[0])


def find_text_answer(text: str, markers: AnswerMarkers = DEFAULT_MARKERS) -> Answer | None:
    r"""The answer of a text where answers need not be numbers: what it marks, else its last number.

    Numbers are found as `find_answer` finds them; ``text`` is what stands at the marker, unless that is a number and
    nothing else.

    Example:
        >>> find_text_answer("It lies on the Seine.\n#### Paris").text, find_text_answer("#### 72 apples").text
        ('Paris', '72')
        >>> find_text_answer("#### 3, 4").text, find_text_answer(r"so \boxed{\text{(B)}}").text
        ('3, 4', '(B)')
    """
    number, span = find_answer(text, markers), _marked_text(text, markers)
    return number if span is None else _or_text(text, span, number)


def answer_at(text: str, start: int, end: int, *, numeric: bool = True) -> Answer | None:
    """The answer in ``text[start:end]``, read as in a marked line or, where that gives no number, as in a box.

    Args:
        text: the whole text.
        start, end: where the answer stands.
        numeric: whether it must be a number; if not, it may be any text, as in `find_text_answer`.

    Example:
        >>> text = "The answer is $72, since 2 * 36 = 72."
        >>> answer_at(text, 13, len(text)).text, answer_at("It is Paris.", 6, 11, numeric=False).text
        ('72', 'Paris')
        >>> answer_at("It is Paris.", 6, 11) is None
        True
    """
    span, number = _stripped(text, start, end), None
    if span is None:
        return None
    until = text[: span[1]]
    with contextlib.suppress(Unreadable):
        if written := read_field(until, span[0]) or read_box(until, *span):
            number = _answer(text, written, marked=True)
    return number if numeric else _or_text(text, span, number)


def agrees(answer: Answer | None, reference: str, markers: AnswerMarkers = DEFAULT_MARKERS) -> bool:
    """Whether an answer is the reference's: the same number, or the same text where the reference is not one number.

    Args:
        answer: as `find_answer` or, for references that are texts, `find_text_answer` returned it.
        reference: the true answer, or a solution that marks it. Numbers are compared by value, texts exactly, except
            that any white space counts as one blank.
        markers: of a reference that is a solution.

    Raises:
        ValueError: the reference is blank.

    Example:
        >>> agrees(find_answer("#### 0.5"), "1/2"), agrees(find_text_answer("####  Paris "), "Paris")
        (True, True)
        >>> agrees(find_text_answer("#### paris"), "Paris"), agrees(None, "Paris")
        (False, False)
    """
    if (true := reference_number(reference, markers)) is not None:
        return answer is not None and answer.numeral is not None and answer.numeral.canonical == true.canonical
    span = _marked_text(reference, markers) or (0, len(reference))
    words = reference[slice(*span)].split()
    if not words:
        raise ValueError(f"reference answer {reference!r} is blank: pass a number, or the text of the answer")
    return answer is not None and answer.text == " ".join(words)


def reference_number(text: str, markers: AnswerMarkers = DEFAULT_MARKERS) -> Numeral | None:
    """The number of a reference answer, or of a solution that marks its answer; None if it is not one number.

    Example:
        >>> reference_number("1,200 apples").canonical, reference_number("Paris") is None
        ('1200', True)
    """
    try:
        return numeral_of(text, _marked_number(text, markers) or read_reference(text))
    except Unreadable:
        return None


def parse_numeral(text: str, markers: AnswerMarkers = DEFAULT_MARKERS) -> Numeral:
    """The number of a reference answer, such as ``"-1,234"`` or ``"1/2"``, or of a solution that marks its answer.

    Raises:
        ValueError: the text is not one number.

    Example:
        >>> parse_numeral("$1,234").canonical
        '1234'
    """
    numeral = reference_number(text, markers)
    if numeral is None:
        found = "is not one number" if re.search("[0-9]", text) else "holds no number"
        raise ValueError(
            f"reference answer {text[:80]!r} {found}: pass an integer, decimal or fraction in ASCII digits, or a "
            f"solution with one after {markers.line or markers.box}"
        )
    return numeral


def _or_text(text: str, span: tuple[int, int], number: Answer | None) -> Answer:
    """The number, if it is all that stands there, else the text there."""
    marked = " ".join(text[slice(*span)].split())
    if number is None:
        return Answer(marked, None, *span, True)
    with contextlib.suppress(Unreadable):
        read_reference(marked)
        return number
    return number._replace(text=marked)


def _answer(text: str, written: Written, *, marked: bool) -> Answer:
    numeral = numeral_of(text, written)
    return Answer(numeral.canonical, numeral.value, written.start, written.end, marked, numeral)


def _marked_number(text: str, markers: AnswerMarkers) -> Written | None:
    """The marked number; None if there is no marker with a number. Raises Unreadable if it is not one number."""
    for marker in _lines(text, markers):
        if written := read_field(text, marker.end()):
            return written
    if box := _box(text, markers):
        return read_box(text, *box)
    return None


def _marked_text(text: str, markers: AnswerMarkers) -> tuple[int, int] | None:
    """Start and end of the first text at a marked line, or that in the last box, stripped; None if there is none."""
    lines = [*_lines(text, markers)]
    for marker, behind in itertools.zip_longest(lines, lines[1:]):
        end = behind.start() if behind else len(text)
        line_end = text.find("\n", marker.end(), end)
        if span := _stripped(text, marker.end(), end if line_end < 0 else line_end):
            return span
    if box := _box(text, markers):
        content = _CONTENT.fullmatch(text, *box)
        return _stripped(text, *(content.span(content.lastindex or 0) if content else box))
    return None


def _lines(text: str, markers: AnswerMarkers) -> Iterator[re.Match[str]]:
    return _line_pattern(markers.line).finditer(text) if markers.line else iter(())


@functools.cache
def _line_pattern(marker: str) -> re.Pattern[str]:
    """The marker; its last character may be repeated, its first may not stand in front of it."""
    first, last = re.escape(marker[0]), re.escape(marker[-1])
    return re.compile(rf"(?<!{first}){re.escape(marker[:-1])}(?:{last})++")


def _box(text: str, markers: AnswerMarkers) -> tuple[int, int] | None:
    """Start and end of what the last box contains."""
    if not markers.box or (start := text.rfind(markers.box)) < 0:
        return None
    depth, start = 0, start + len(markers.box)
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth <= 0:
            return start, brace.start()
    return start, len(text)


def _stripped(text: str, start: int, end: int) -> tuple[int, int] | None:
    content = text[start:end]
    start, end = start + len(content) - len(content.lstrip()), start + len(content.rstrip())
    return (start, end) if start < end else None
