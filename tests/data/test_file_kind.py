# SPDX-License-Identifier: Apache-2.0
"""Files that hold something else than JSON lines are named; JSON lines, good and bad, are read row by row."""

import json

import pytest

from ntl_jax.data.file_kind import BINARY, other_kind

ROW = {"question": "2+3?\r\n\tA, b; c", "answer": "#### 5"}
LINE = json.dumps(ROW)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n\n",
        LINE,
        f"\ufeff{LINE}\n{LINE}\n",
        f"{LINE}\r\n{LINE}\r\n",
        f"\n\n{LINE}\n",
        f"[1]\n{LINE}",  # a row that is a list is a fault of that row
        f'{{"question": "cut\n{LINE}',
        f'{{"question": "cut"}} {LINE}',
        "7\n8",
    ],
    ids=repr,
)
def test_what_may_be_json_lines_is_read_row_by_row(content):
    if content.startswith('{"question": "cut\n'):
        assert "several lines" in str(other_kind(content.encode()))  # a line that ends within a value
    else:
        assert other_kind(content.encode()) is None


@pytest.mark.parametrize("signature", BINARY, ids=lambda signature: repr(signature.start))
def test_a_format_is_known_by_its_first_bytes(signature):
    assert other_kind(signature.start + b"\0\0") == signature.meaning


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_is_known_by_its_mark_or_its_zeros(encoding):
    kind = other_kind(LINE.encode(encoding))
    assert kind is not None and encoding[:6].upper() in kind and "iconv" in kind


def test_a_tar_archive_is_known_by_its_header():
    assert other_kind(b"train.jsonl".ljust(257, b"\0") + b"ustar") == "is a tar archive: unpack it"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (json.dumps([ROW] * 2, indent=1), "one JSON array"),
        (json.dumps([]), "one JSON array"),
        (json.dumps(ROW, indent=2), "spread over several lines"),
        ("question,answer\n1,2", "commas (csv)"),
        ("id\tquestion\tanswer\n", "tabs (tsv)"),
        ("{'question': '1', 'answer': '#### 1'}", "Python dicts"),
        ("<html><body>404", "web page"),
        (f"{LINE}\r{LINE}\r", "carriage returns"),
        ("Once upon a time", "holds no JSON, its first line is 'Once upon a time'"),
        ("\x1b[2J", r"'\x1b[2J'"),
    ],
)
def test_texts_of_other_formats_are_named(content, expected):
    assert expected in str(other_kind(content.encode()))
