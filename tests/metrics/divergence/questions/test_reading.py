# SPDX-License-Identifier: Apache-2.0
"""Logs are read whole, in order, whatever their form; what is no log is named with its file and line."""

import gzip
import json

import pytest

from ntl_jax.metrics.divergence.questions import reading
from ntl_jax.metrics.divergence.questions.reading import log_files, read_log
from tests.divergence_lines import line, lines, write_log

NAME = "divergence.jsonl"


def as_bytes(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def test_all_lines_of_all_files_are_read_in_order(tmp_path):
    files = [write_log(tmp_path / name, [line(i), line(i + 1)]) for i, name in enumerate(("a.jsonl", "b.jsonl"))]
    log = read_log(files)
    assert [token.position for token in log.tokens] == [0, 1, 1, 2]
    assert (log.files, log.torn) == (tuple(files), ())


@pytest.mark.parametrize("cut", [1, 2, 300])
def test_an_incomplete_last_line_is_left_out_and_said(tmp_path, cut):
    path, content = tmp_path / NAME, as_bytes(lines())
    path.write_bytes(content[:-cut])
    log = read_log([path])
    assert len(log.tokens) + len(log.torn) == 20
    assert log.torn == (() if cut == 1 else (path,))  # only the line's end is missing: all of its contents are there


def test_an_incomplete_last_line_may_end_within_a_character(tmp_path):
    content = as_bytes([line()]) + json.dumps(line(token_text="中"), ensure_ascii=False).encode()
    (tmp_path / NAME).write_bytes(content[: content.index("中".encode()) + 1])
    assert len(read_log([tmp_path / NAME]).torn) == 1


@pytest.mark.parametrize("damage", [b'{"prob_div\n', b"\xff\n", b"[]\n", b'{"position": 1}\n', b"[" * 10_000 + b"\n"])
def test_a_damaged_line_in_the_middle_is_named(tmp_path, damage):
    path = tmp_path / NAME
    path.write_bytes(as_bytes([line()]) + damage + as_bytes([line()]))
    with pytest.raises(ValueError, match=rf"{NAME}:2: it .*fix or remove the line"):
        read_log([path])


def test_a_value_that_cannot_be_is_named_with_its_line(tmp_path):
    path = write_log(tmp_path / NAME, [line(), line(position=-1)])
    with pytest.raises(ValueError, match=rf"{NAME}:2: position is -1"):
        read_log([path])


def test_blank_lines_byte_order_marks_and_other_ends_of_lines_change_nothing(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b"\xef\xbb\xbf" + as_bytes(lines()).replace(b"\n", b"\r\n\r\n") + b"\0\0\0")
    assert len(read_log([path]).tokens) == 20


def test_files_packed_with_gzip_are_read_whatever_their_name(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(gzip.compress(as_bytes(lines())))
    assert len(read_log([path]).tokens) == 20
    path.write_bytes(gzip.compress(as_bytes(lines()))[:-20])
    with pytest.raises(ValueError, match="packed with gzip and damaged"):
        read_log([path])


@pytest.mark.parametrize(
    "content",
    [
        b'{"stage": "ppo", "step": 1, "val/accuracy": 0.5}\n',
        b'{\n "a": 1\n}\n',
        b"[1, 2]",
        b"# notes\n",
        b"notes",
        b"\x89PNG\r\n\x1a\n",
        '{"position": 1}'.encode("utf-16"),
        b"3\n",
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_first_line(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match=r"other is no divergence log.*; line 1: it .*; give a run folder"):
        read_log([tmp_path / "other"])


def test_a_file_of_another_kind_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 100)
    (tmp_path / "weights").write_bytes(b"\0\1{" * 1000)
    with pytest.raises(ValueError, match="no divergence log"):
        read_log([tmp_path / "weights"])


@pytest.mark.parametrize("content", ["", "\n\n", '{"prob_'])
def test_a_log_without_lines_is_answered_with_the_likely_reasons(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    with pytest.raises(ValueError, match=r"no divergence lines in .*divergence\.threshold.*divergence\.every"):
        read_log([tmp_path / NAME])


def test_a_log_that_is_given_twice_is_refused(tmp_path):
    path = write_log(tmp_path / NAME, lines())
    with pytest.raises(ValueError, match="is given twice: give it once"):
        read_log([path, tmp_path / "." / NAME])


def test_a_run_folder_stands_for_its_log_and_the_older_parts_the_oldest_first(tmp_path):
    for name in (NAME, f"{NAME}.1", f"{NAME}.2.gz", f"{NAME}.10", f"{NAME}.bak", "metrics.jsonl"):
        (tmp_path / name).touch()
    assert [file.name for file in log_files(tmp_path)] == [f"{NAME}.10", f"{NAME}.2.gz", f"{NAME}.1", NAME]
    assert log_files(tmp_path / f"{NAME}.1") == [tmp_path / f"{NAME}.1"]


@pytest.mark.parametrize("path", ["logs/[x] of {iteration}.jsonl", "logs/[x] of {iteration:06d}.jsonl"])
def test_a_run_folder_stands_for_the_logs_that_its_settings_name(tmp_path, path):
    (tmp_path / "config.json").write_text(json.dumps({"divergence": {"path": path}}))
    for name in ("[x] of 2.jsonl", "[x] of 10.jsonl", "[x] of 2.jsonl.1", "x of 3.jsonl"):
        write_log(tmp_path / "logs" / name, [line()])
    names = ["[x] of 2.jsonl.1", "[x] of 2.jsonl", "[x] of 10.jsonl"]
    assert [file.name for file in log_files(tmp_path)] == names


def test_what_is_not_there_or_holds_no_log_is_said(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds no divergence\.jsonl: .*divergence\.threshold"):
        log_files(tmp_path)
    with pytest.raises(ValueError, match=r"there is no .*nowhere: give"):
        log_files(tmp_path / "nowhere")
