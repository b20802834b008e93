# SPDX-License-Identifier: Apache-2.0
"""A row of a source, before anything is known of its fields."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """One row.

    Args:
        index: identifies the row in its source: the line of a jsonl file or the number of the row, from 0.
        place: where it is, for people.
        value: an object with fields if the row is well-formed; else what is wrong with it, as a text.
        naming: where the names of its fields come from, if they are not its own.

    Example:
        >>> Row(2, "train.jsonl:3", {"question": "2+3?", "answer": "5"}).value["answer"]
        '5'
    """

    index: int
    place: str
    value: dict[str, object] | str
    naming: str = ""


def type_name(value: object) -> str:
    """The type of a value in JSON's words.

    Example:
        >>> type_name(None), type_name({}), type_name(True)
        ('null', 'an object', 'a boolean')
    """
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case bytes():
            return "binary data"
        case _:
            return "an object"
