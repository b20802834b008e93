# SPDX-License-Identifier: Apache-2.0
"""Finds the fields of a row that the settings ``data.fields`` name, or those of known data sets."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from ntl_jax.config import FieldsSection

Role = Literal["question", "answer", "solution", "source"]
"""What a field is read as: a setting of ``data.fields``."""

DEFAULTS: dict[Role, tuple[str, ...]] = {
    "question": ("question", "prompt", "problem"),
    "answer": ("answer", "reward_model.ground_truth", "ground_truth", "solution"),
    "solution": ("solution", "extra_info.answer"),
    "source": ("data_source",),
}
"""Names in GSM8K's, MATH's and verl's files: the first that a row has is read where a setting names none."""
MOST_NAMED = 20
"""How many fields of a row an error names."""

NEAR = 0.8
"""Least likeness of a name that may be meant: `question` and `solution` are less alike."""


class Found(NamedTuple):
    """A field of a row.

    Args:
        path: its name, with the names of the fields that it is in.
        value: what it holds.
    """

    path: str
    value: object


def find_field(row: Mapping[str, object], role: Role, fields: FieldsSection) -> Found | None:
    """The field of a row that is read as question, answer, solution or source; None if the row has none.

    A field that holds null is only taken if none of the others holds more.

    Args:
        row: a row.
        role: what is looked for.
        fields: the settings.

    Example:
        >>> row = {"prompt": "2+3?", "reward_model": {"ground_truth": "5"}}
        >>> find_field(row, "answer", FieldsSection())
        Found(path='reward_model.ground_truth', value='5')
    """
    found = [Found(path, value) for path in _paths(role, fields) for value in _values(row, path)]
    return next((field for field in found if field.value is not None), found[0] if found else None)


def is_named(role: Role, fields: FieldsSection) -> bool:
    """Whether a setting names the field.

    Example:
        >>> is_named("answer", FieldsSection(answer="result")), is_named("answer", FieldsSection())
        (True, False)
    """
    return _given(role, fields) is not None


def missing_field(row: Mapping[str, object], role: Role, fields: FieldsSection) -> str:
    """What to say of a row without a field: what was looked for, what there is, and which setting names it.

    Args:
        row: a row.
        role: the field that it lacks.
        fields: the settings.

    Example:
        >>> missing_field({"problm": "2+3?", "answer": "5"}, "question", FieldsSection(question="problem"))
        'no `problem`, only `problm`, `answer`: did you mean data.fields.question=problm?'
    """
    paths, there = _paths(role, fields), list(_names(row))
    sought = " or ".join([", ".join(f"`{path}`" for path in paths[:-1])] * (len(paths) > 1) + [f"`{paths[-1]}`"])
    if not there:
        return f"no {sought}, only an empty object"
    listed = ", ".join(f"`{name}`" for name in there[:MOST_NAMED]) + ", ..." * (len(there) > MOST_NAMED)
    near = [name for path in paths for name in difflib.get_close_matches(path, there, n=1, cutoff=NEAR)]
    remedy = f"did you mean data.fields.{role}={near[0]}?" if near else f"name it with data.fields.{role}"
    return f"no {sought}, only {listed}: {remedy}"


def _given(role: Role, fields: FieldsSection) -> str | None:
    return {
        "question": fields.question,
        "answer": fields.answer,
        "solution": fields.solution,
        "source": fields.source,
    }[role]


def _paths(role: Role, fields: FieldsSection) -> tuple[str, ...]:
    given = _given(role, fields)
    return DEFAULTS[role] if given is None else (given,)


def _values(value: object, path: str) -> Iterator[object]:
    """The value at a path, if there is one: a field of that name with its dots, or fields within fields."""
    if isinstance(value, Mapping):
        if path in value:
            yield value[path]
            return
        first, dot, rest = path.partition(".")
        while dot:
            if first in value:
                yield from _values(value[first], rest)
                return
            more, dot, rest = rest.partition(".")
            first = f"{first}.{more}"
    elif isinstance(value, list) and (number := path.partition(".")[0]).isdigit() and int(number) < len(value):
        item, rest = value[int(number)], path.partition(".")[2]
        yield from _values(item, rest) if rest else (item,)


def _names(row: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The fields of a row, and those that lie in them."""
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
