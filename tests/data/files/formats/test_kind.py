# SPDX-License-Identifier: Apache-2.0
"""What a file holds shows in its content; what cannot be read is named, with what to do about it."""

import json

import pytest

from ntl_jax.data.files.formats.kind import BINARY, PARQUET, find_kind

ROW = {"question": "2+3?\r\n\tA, b; c", "answer": "#### 5"}
LINE = json.dumps(ROW)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (f"{LINE}\n{LINE}\n", "lines"),
        (f"{LINE}\r\n{LINE}\r\n", "lines"),
        (f"\n\n{LINE}\n{LINE}", "lines"),
        (f"[1]\n{LINE}", "lines"),  # a row that is a list is a fault of that row
        (f'{{"question": "cut"}} {LINE}', "lines"),
        ("7\n8", "lines"),
        (LINE, "document"),
        (json.dumps(ROW, indent=2), "document"),
        (json.dumps([ROW] * 2), "document"),
        (json.dumps([ROW] * 2, indent=1), "document"),
        (f"[\n{LINE},\n{LINE}\n]", "document"),
        (json.dumps({"version": 1, "data": [ROW]}, indent=1), "document"),
        ("question,answer\n1,2", "table"),
        ("id\tquestion\tanswer\n", "table"),
        ("question;answer\r\n1;2\r\n", "table"),
        (PARQUET.decode(), "parquet"),
    ],
    ids=repr,
)
def test_the_kind_shows_in_the_content(content, kind):
    assert find_kind(content.encode()) == kind


def test_a_table_may_have_one_column_or_odd_names_if_its_file_is_called_one():
    assert find_kind("größe (m)\n7".encode(), ".csv") == find_kind(b"q\n7\n", ".tsv") == "table"
    with pytest.raises(ValueError, match="neither JSON nor a table, its first line is 'q'"):
        find_kind(b"q\n7\n")


@pytest.mark.parametrize("signature", BINARY, ids=lambda signature: repr(signature.start))
def test_a_format_is_known_by_its_first_bytes(signature):
    with pytest.raises(ValueError) as error:
        find_kind(signature.start + b"\0\0", ".jsonl")
    assert str(error.value) == signature.meaning


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_is_known_by_its_mark_or_its_zeros(encoding):
    with pytest.raises(ValueError, match=rf"{encoding[:6].upper()}.* iconv"):
        find_kind(LINE.encode(encoding))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("train.jsonl".ljust(257, "\0") + "ustar", "is a tar archive: unpack it"),
        (json.dumps([ROW] * 2, indent=1)[:-9], "JSON array that is damaged or cut off"),
        ("\n".join([json.dumps(ROW, indent=2)] * 2), "spread over several lines"),
        (f'{{"question": "cut\n{LINE}', "several lines"),  # a line that ends within a value
        (f"{LINE},\n{LINE},\n", "has a comma after each row"),
        ("{'question': '1', 'answer': '#### 1'}", "Python dicts"),
        ("<html><body>404", "web page"),
        (f"{LINE}\r{LINE}\r", "carriage returns"),
        ("Once upon a time", "neither JSON nor a table, its first line is 'Once upon a time'"),
        ("\x1b[2J", r"'\x1b[2J'"),
    ],
)
def test_what_cannot_be_read_is_named(content, expected):
    with pytest.raises(ValueError) as error:
        find_kind(content.encode())
    assert expected in str(error.value)
