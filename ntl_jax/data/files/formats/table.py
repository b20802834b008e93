# SPDX-License-Identifier: Apache-2.0
"""Rows of tables in text: csv with commas, semicolons or bars, tsv with tabs. The first line names the columns."""

import csv
import io
from collections.abc import Iterator

from ntl_jax.data.files.row import Row

DELIMITERS = ",;\t|"
"""What may separate columns."""
MOST_CHARACTERS = 2**31 - 1
"""Of a value; the csv module's own limit is below the length of some solutions."""


def table_rows(content: bytes, name: str, suffix: str = "") -> Iterator[Row]:
    r"""The rows of a table as objects, whose values are texts.

    Args:
        content: of the file, in UTF-8.
        name: of the file.
        suffix: of the file's name; ``.tsv`` has tabs, others the delimiter that the first line has most often.

    Raises:
        ValueError: for a table that cannot be read as a whole, in words that follow the name.

    Example:
        >>> [row.value for row in table_rows(b'question;answer\n"2;3?";5\n', "a.csv")]
        [{'question': '2;3?', 'answer': '5'}]
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"is not UTF-8 at byte {error.start}: convert it, with iconv -f CP1252 -t UTF-8 if Excel wrote it"
        ) from error
    csv.field_size_limit(MOST_CHARACTERS)
    first = text.lstrip().partition("\n")[0]
    delimiter = "\t" if suffix == ".tsv" else max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        lines = (line for line in reader if any(value.strip() for value in line))
        columns = [column.strip() for column in next(lines, [])]
        if len({*columns}) < len(columns) or "" in columns:
            raise ValueError(
                f"does not name its columns, or two alike: its first line is {first.strip()[:60]!r}; write a name for "
                "each column there, such as question,answer"
            )
        for i, line in enumerate(lines):
            fits = len(line) == len(columns)
            fault = f"has {len(line)} values, and the first line names {len(columns)} columns: quote values that hold "
            value: dict[str, object] | str = f"{fault}{delimiter!r} or line ends"
            if fits:
                value = dict(zip(columns, line, strict=True))
            yield Row(i, f"{name}:{reader.line_num}", value, "the first line names its columns")
    except csv.Error as error:
        raise ValueError(f"is no table that can be read: line {reader.line_num}: {error}") from error
