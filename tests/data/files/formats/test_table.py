# SPDX-License-Identifier: Apache-2.0
"""Tables are read with their quotes, delimiters and line ends; ragged rows are named, and tables without names."""

import pytest

from ntl_jax.data.files.formats.table import table_rows

ROWS = [{"question": 'A, "b";\n| c?', "answer": "5"}, {"question": "d\te", "answer": "1,200"}]


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_are_the_same_whatever_separates_them(delimiter, end):
    lines = [["question", "answer"], ['"A, ""b"";\n| c?"', "5"], ['"d\te"', '"1,200"'], [], []]
    content = end.join(map(delimiter.join, lines)).encode()
    rows = list(table_rows(content, "a.csv"))
    assert [row.value for row in rows] == ROWS and [row.index for row in rows] == [0, 1]
    assert [row.place for row in rows] == ["a.csv:3", "a.csv:4"]


def test_blanks_after_a_delimiter_do_not_hide_quotes():
    (row,) = table_rows(b'question, answer\n"a, b?", "5"\n', "a.csv")
    assert row.value == {"question": "a, b?", "answer": "5"}


def test_the_ending_of_a_files_name_says_that_it_has_tabs():
    assert [row.value for row in table_rows(b"a,b,c\td\n1,2\t3\n", "a.tsv", ".tsv")] == [{"a,b,c": "1,2", "d": "3"}]


def test_a_value_may_be_as_long_as_a_solution_is():
    (row,) = table_rows(b"question,answer\n1?," + b"x" * 200_000, "a.csv")
    assert isinstance(row.value, dict) and len(str(row.value["answer"])) == 200_000


def test_a_row_with_another_number_of_values_is_malformed():
    short, long = table_rows(b"question,answer\n1?\n1,2,3\n", "a.csv")
    assert str(short.value).startswith("has 1 values, and the first line names 2 columns")
    assert str(long.value).startswith("has 3 values")


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"question,question\n1,2\n", "does not name its columns, or two alike"),
        (b"question,\n1,2\n", "does not name its columns"),
        (b'question,answer\n"1?,2\n', "line 2: unexpected end of data"),
        (b"question,answer\n\xe9,2\n", "not UTF-8 at byte 16"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(content, answer):
    with pytest.raises(ValueError, match=answer):
        list(table_rows(content, "a.csv"))
