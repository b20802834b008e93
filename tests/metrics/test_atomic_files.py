# SPDX-License-Identifier: Apache-2.0
"""Files are there whole or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.metrics.atomic_files import as_line, write_rows, write_whole


def test_a_file_is_replaced_as_a_whole_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "config.json"
    for text in ("a longer text é", "short"):
        write_whole(path, text)
        assert path.read_text("utf-8") == text
        assert list(tmp_path.iterdir()) == [path]


def test_rows_that_json_does_not_have_leave_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"a": 1}])
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON compliant"):
            write_rows(path, [{"a": 2}, {"a": bad}])
    assert path.read_text() == '{"a": 1}\n'


def test_rows_are_lines_whatever_their_texts_hold(tmp_path):
    rows = [{"text": "two\nlines, \u2028 é 🍎"}, {"text": None, "n": [1, 2.5]}]
    write_rows(tmp_path / "new" / "folder" / "rows.jsonl", rows)
    lines = (tmp_path / "new" / "folder" / "rows.jsonl").read_text("utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == rows and lines[-1] == ""


@given(st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_any_text_is_one_line_that_reads_back_and_holds_nothing_that_upsets_a_terminal(text):
    line = as_line({"text": text})
    assert json.loads(line) == {"text": text}
    assert line.endswith("\n") and len(line.splitlines()) == 1
    assert not set(line[:-1]) & {"\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066", "\u2028"}
    line.encode()


def test_a_file_that_finds_no_space_leaves_the_one_before_it_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.json"
    write_whole(path, "{}")
    (tmp_path / ".metrics.json.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "[]")
    assert path.read_text() == "{}" and [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_spaces_and_letters_of_all_scripts_stay_as_they_are():
    assert as_line({"text": "二\u3000個 \u00a0é🍎\U000e0001"}) == '{"text": "二\u3000個 \u00a0é🍎\\udb40\\udc01"}\n'
