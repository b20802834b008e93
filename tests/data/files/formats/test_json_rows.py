# SPDX-License-Identifier: Apache-2.0
"""Rows of JSON keep their lines and numbers; what is no row says so."""

import pytest

from ntl_jax.data.files.formats.json_rows import json_document, json_lines


def test_lines_keep_their_numbers_and_end_only_at_line_feeds():
    content = '{"a": "1\u2028\x85"}\r\n\n  \n{"a": 2}\n[3]\n{"a"\n'.encode() + b'"\xff"'
    rows = list(json_lines(content, "f"))
    assert [(row.index, row.place) for row in rows] == [(0, "f:1"), (3, "f:4"), (4, "f:5"), (5, "f:6"), (6, "f:7")]
    assert [type(row.value) for row in rows] == [dict, dict, str, str, str]
    assert [str(row.value)[:12] for row in rows[2:]] == ["must be a JS", "bad JSON: Ex", "not UTF-8: i"]


def find(document, is_row=lambda row: "q" in row):
    return [row.value for row in json_document(document, "f", is_row)]


def test_a_document_is_an_array_or_holds_the_only_one_or_is_a_row():
    rows = [{"q": 1}, {"q": 2}]
    assert find(rows) == find({"version": 1, "tags": ["a"], "data": rows}) == rows
    assert find(rows[0]) == rows[:1]
    chat = {"q": [{"role": "user"}]}
    assert find(chat) == [chat]  # a row, whose field is an array of objects
    assert find([]) == [] and find({}) == [{}]


@pytest.mark.parametrize(
    ("document", "answer"),
    [({"a": [{"x": 1}], "b": [{"x": 1}]}, "several arrays of rows, a, b"), (7, "holds a number")],
)
def test_a_document_without_rows_or_with_several_arrays_is_refused(document, answer):
    with pytest.raises(ValueError, match=answer):
        find(document)
