# SPDX-License-Identifier: Apache-2.0
"""Turns a row into a problem: question, solution and true answer, or what is wrong with the row."""

import decimal
import math
from collections.abc import Mapping

from ntl_jax.config import FieldsSection
from ntl_jax.data.files.fields import Found, Role, find_field, is_named, missing_field
from ntl_jax.data.files.row import Row, type_name
from ntl_jax.data.problems import Message, Problem
from ntl_jax.numerals import DEFAULT_MARKERS, Answer, AnswerMarkers, find_text_answer, reference_number

LONGEST_NUMBER = 300
"""Characters of an answer: float64 reaches to 308 digits."""
UNMARKED = AnswerMarkers(line=None, box=None)


class Fault(Exception):
    """What is wrong with a row, in words that follow its place."""


class MissingField(Fault):
    """A row lacks a field that is read."""


def read_problem(
    row: Row, fields: FieldsSection, *, data_source: str, markers: AnswerMarkers = DEFAULT_MARKERS, numeric: bool = True
) -> Problem:
    r"""The problem in a row.

    Args:
        row: of any source.
        fields: names of its fields.
        data_source: the name of the problem's data set if the row names none.
        markers: how solutions mark their answer.
        numeric: whether the answer must be a number.

    Raises:
        Fault: if the row is malformed.

    Example: MATH's fields, and verl's
        >>> row = Row(0, "", {"problem": "2+3?", "solution": r"So \boxed{5}."})
        >>> read_problem(row, FieldsSection(), data_source="math")
        Problem(index=0, question='2+3?', solution='So \\boxed{5}.', ground_truth='5', data_source='math', ...)
        >>> prompt = [{"role": "user", "content": "2+3?"}]
        >>> row = Row(1, "", {"prompt": prompt, "reward_model": {"ground_truth": 5}, "data_source": "mine"})
        >>> read_problem(row, FieldsSection(), data_source="a")
        Problem(index=1, question='2+3?', solution='5', ground_truth='5', data_source='mine', ...)
    """
    if isinstance(row.value, str):
        raise Fault(row.value)
    question = _question(row.value, fields)
    solution, truth = _answer(row.value, fields, markers, numeric=numeric)
    if (own := _optional(row.value, "source", fields)) is not None:
        data_source = _text(own, "a string").strip()
    extra_info = row.value.get("extra_info") or {}
    if not isinstance(extra_info, dict):
        raise Fault(f"`extra_info` must be an object, is {type_name(extra_info)}")
    return Problem(row.index, question, solution, truth, data_source, extra_info, place=row.place)


def _question(row: Mapping[str, object], fields: FieldsSection) -> str | tuple[Message, ...]:
    """What a row asks: a text, or the turns of a chat. One turn of a user alone is its text."""
    found = _required(row, "question", fields)
    if not isinstance(found.value, list):
        return _text(found, "a string or a list of messages")
    turns = tuple(_turn(Found(f"{found.path}.{i}", value)) for i, value in enumerate(found.value))
    if not turns:
        raise Fault(f"`{found.path}` is empty")
    if turns[-1]["role"] != "user":
        raise Fault(f"`{found.path}` must end with a message of the user, and ends with one of the {turns[-1]['role']}")
    return turns[0]["content"] if len(turns) == 1 else turns


def _answer(
    row: Mapping[str, object], fields: FieldsSection, markers: AnswerMarkers, *, numeric: bool
) -> tuple[str, str]:
    """The reference solution of a row and its true answer."""
    found = _required(row, "answer", fields)
    answer = _number_text(found)
    if answer is None:
        answer = _text(found, "a string or a number").rstrip()
    line = _marked_line(answer, found.path, markers)
    boxed = _boxed(answer, markers) if line is None else None
    marked = line is not None or boxed is not None
    truth = line or (boxed.text if boxed else answer.strip())
    if numeric:
        truth = _as_number(truth, boxed, "the answer" if marked else f"`{found.path}`", markers)
    own = _optional(row, "solution", fields)
    if own is None or (marked and fields.solution is None):
        return answer, truth
    return _number_text(own) or _text(own, "a string").rstrip(), truth


def _required(row: Mapping[str, object], role: Role, fields: FieldsSection) -> Found:
    if (found := find_field(row, role, fields)) is None:
        raise MissingField(missing_field(row, role, fields))
    return found


def _optional(row: Mapping[str, object], role: Role, fields: FieldsSection) -> Found | None:
    """A field that a row may lack, or hold null in, unless a setting names it."""
    if is_named(role, fields):
        found = _required(row, role, fields)
        if found.value is None:
            raise Fault(f"`{found.path}` is null")
        return found
    found = find_field(row, role, fields)
    return None if found is None or found.value is None else found


def _text(found: Found, expected: str) -> str:
    path, value = found
    if not isinstance(value, str):
        inside = f" with {', '.join(f'`{path}.{name}`' for name in value)}" if isinstance(value, dict) else ""
        raise Fault(f"`{path}` must be {expected}, is {type_name(value)}{inside}")
    if not value.isprintable() and any("\ud800" <= c <= "\udfff" for c in value):
        raise Fault(f"`{path}` holds half a surrogate pair, which is not a character")
    if not value.strip():
        raise Fault(f"`{path}` is empty")
    return value


def _turn(found: Found) -> Message:
    """A message whose content is a text, or consists of parts that are texts."""
    turn = found.value
    if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
        raise Fault(f"`{found.path}` must be a message with `role` and `content`, is {_shown(turn)}")
    content = turn["content"]
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise Fault(f"`{found.path}.content` must consist of texts: policies read nothing else")
        content = "".join(map(str, texts))
    role = _text(Found(f"{found.path}.role", turn["role"]), "a string")
    return {"role": role, "content": _text(Found(f"{found.path}.content", content), "a string")}


def _shown(value: object) -> str:
    return f"an object with {', '.join(value) or 'no fields'}" if isinstance(value, dict) else type_name(value)


def _number_text(found: Found) -> str | None:
    """A number as a text, without a fraction of 0; None for what is no number."""
    value = found.value
    if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal):
        return None
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise Fault(f"`{found.path}` must be a finite number, is {value}")
    return str(int(value)) if value == int(value) else format(decimal.Decimal(str(value)).normalize(), "f")


def _marked_line(answer: str, path: str, markers: AnswerMarkers) -> str | None:
    """The answer after the marker of the last line; None without that marker."""
    line = markers.line
    if not line or line not in answer:
        return None
    last = answer.rpartition("\n")[2]
    if last.startswith(line):
        truth = last.removeprefix(line).strip()
        if not truth:
            raise Fault(f"there is no answer after {line}")
        return truth
    if _boxed(answer, markers) is not None:
        return None
    raise Fault(f"`{path}` must end in a line `{line} N`, ends in {last!r}")


def _boxed(text: str, markers: AnswerMarkers) -> Answer | None:
    """The answer in the last box; None without a box."""
    if not markers.box or markers.box not in text:
        return None
    answer = find_text_answer(text, markers._replace(line=None))
    return answer if answer is not None and answer.marked else None


def _as_number(truth: str, boxed: Answer | None, name: str, markers: AnswerMarkers) -> str:
    """The true answer if it is a number: as it is written, unless that is LaTeX or an equation."""
    number = reference_number(truth, UNMARKED)
    as_written = number is not None and "\\" not in truth
    number = number or (boxed and boxed.numeral)
    if number is None:
        line, box = markers.line and f"`{markers.line} N`", markers.box and f"`{markers.box}{{N}}`"
        marks = " or ".join(filter(None, [line, box]))
        solution = f", or a solution that marks one with {marks}" if marks and name[0] == "`" else ""
        raise Fault(f"{name} must be a number{solution}, is {truth!r}; texts need a reward.function of your own")
    if (length := len(number.canonical)) > LONGEST_NUMBER:
        raise Fault(f"{name} has {length:,} characters; a number may have {LONGEST_NUMBER}")
    return truth if as_written else number.canonical
