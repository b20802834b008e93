# SPDX-License-Identifier: Apache-2.0
"""Reads the problems of files and data sets, whatever their formats."""

import collections
import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Literal

from ntl_jax.config import MOST_PROBLEMS, FieldsSection, named
from ntl_jax.data.files.fields import find_field
from ntl_jax.data.files.formats.content import read_content
from ntl_jax.data.files.formats.hub import data_set_rows
from ntl_jax.data.files.formats.json_rows import json_document, json_lines
from ntl_jax.data.files.formats.kind import find_kind
from ntl_jax.data.files.formats.parquet import parquet_rows
from ntl_jax.data.files.formats.table import table_rows
from ntl_jax.data.files.problem import Fault, MissingField, read_problem
from ntl_jax.data.files.row import Row
from ntl_jax.data.files.source import Source, find_source
from ntl_jax.data.problems import Problem, Split, check_faults
from ntl_jax.numerals import DEFAULT_MARKERS, AnswerMarkers

OnBadRow = Literal["error", "skip"]
GSM8K = "gsm8k"
"""What rewards receive as ``data_source`` for solutions that end as GSM8K's do, if their rows name no source."""


def load_problems(
    sources: Sequence[str],
    fields: FieldsSection | None = None,
    *,
    purpose: Split = "train",
    setting: str = "data.train",
    on_bad_row: OnBadRow = "error",
    numeric: bool = True,
    markers: AnswerMarkers = DEFAULT_MARKERS,
) -> tuple[list[Problem], int]:
    """Reads the problems of one or several sources, in their order.

    Args:
        sources: files and data sets, as in ``data.train``.
        fields: names of the fields; None: those that GSM8K, MATH and verl use.
        purpose: chooses the split of a data set whose source names none.
        setting: what names the sources, for errors.
        on_bad_row: whether malformed rows raise one error that names them, or are left out and counted.
        numeric: whether a row is malformed if its answer is not a number.
        markers: how solutions mark their answer.

    Returns:
        The problems, and the number of rows left out. A problem's index is its row, counted on from source to source.

    Raises:
        ValueError: naming setting and source, if a source cannot be read, holds something else or has no good row; for
            bad rows, naming place and fault.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"problem": "2+3?", "answer": 5}\\n')
        ...     file.flush()
        ...     problems, skipped = load_problems([file.name])
        >>> problems[0].text, problems[0].ground_truth, skipped
        ('2+3?', '5', 0)
    """
    fields, found = fields or FieldsSection(), []
    for text in sources:
        with named(setting, text):
            found.append(find_source(text))
    problems: list[Problem] = []
    begin = num_faults = 0
    for source_index, (source, name) in enumerate(zip(found, _names(found), strict=True)):
        good: list[Problem] = []
        faults: list[tuple[str, str]] = []
        with named(setting, source.text):
            rows = list(itertools.islice(read_rows(source, fields, purpose=purpose), MOST_PROBLEMS + 1 - begin))
            if not rows:
                raise ValueError(f"{source.text} is empty: give a source with a row for each problem")
            if begin + len(rows) > MOST_PROBLEMS:
                raise ValueError(f"there are more than {MOST_PROBLEMS:,} rows, which memory must hold: leave some out")
            for row in rows:
                try:
                    problem = read_problem(row, fields, data_source=name, markers=markers, numeric=numeric)
                except Fault as fault:
                    naming = f"; {row.naming}" if row.naming and isinstance(fault, MissingField) else ""
                    faults.append((row.place, f"{fault}{naming}"))
                else:
                    problem = _as_gsm8k(problem, name, markers)
                    good.append(dataclasses.replace(problem, index=begin + row.index, source_index=source_index))
            check_faults(faults, len(good), on_bad_row)
        problems += good
        begin, num_faults = begin + rows[-1].index + 1, num_faults + len(faults)
    return problems, num_faults


def read_rows(source: Source, fields: FieldsSection, *, purpose: Split = "train") -> Iterator[Row]:
    """The rows of a source, in its order.

    Args:
        source: from `find_source`.
        fields: names of the fields, which tell a row from an object that holds rows.
        purpose: chooses the split of a data set whose source names none.

    Raises:
        ValueError: naming the source, if it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("question,answer\\n2+3?,5\\n")
        ...     file.flush()
        ...     rows = list(read_rows(find_source(file.name), FieldsSection()))
        >>> rows[0].value
        {'question': '2+3?', 'answer': '5'}
    """
    try:
        yield from _file_rows(source, fields) if source.is_file else data_set_rows(source, purpose)
    except ValueError as error:
        raise ValueError(f"{source.text} {error}") from error


def _file_rows(source: Source, fields: FieldsSection) -> Iterator[Row]:
    assert source.path is not None
    content, name, suffix = read_content(source.path), str(source.path), source.suffix
    match find_kind(content, suffix):
        case "lines":
            return json_lines(content, name)
        case "document":
            return json_document(json.loads(content), name, lambda row: bool(find_field(row, "question", fields)))
        case "table":
            return table_rows(content, name, suffix)
        case "parquet":
            return parquet_rows(content, name)


def _names(sources: Sequence[Source]) -> list[str]:
    """Names of the sources, told apart by their folders, or by their numbers, where they would be the same."""
    names = [source.name for source in sources]
    counts = collections.Counter(names)
    full = [
        f"{source.path.absolute().parent.name}/{name}" if source.path and counts[name] > 1 else name
        for source, name in zip(sources, names, strict=True)
    ]
    counts = collections.Counter(full)
    return [f"{name}-{i + 1}" if counts[name] > 1 else name for i, name in enumerate(full)]


def _as_gsm8k(problem: Problem, name: str, markers: AnswerMarkers) -> Problem:
    """The problem, named after GSM8K if its row names no source and its solution ends like that."""
    last = problem.solution.rpartition("\n")[2]
    gsm8k = problem.data_source == name and bool(markers.line) and last.startswith(str(markers.line))
    return dataclasses.replace(problem, data_source=GSM8K) if gsm8k else problem
