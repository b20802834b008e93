# SPDX-License-Identifier: Apache-2.0
"""The thread that logs samples: what it leaves in the file, what it takes back, and that it never ends a run."""

import gzip
import os
import threading

import pytest

from ntl_jax.metrics.samples import log as module
from ntl_jax.metrics.samples.log import SAMPLES_FILE, SampleLog
from ntl_jax.metrics.samples.members import read_groups
from tests.logged import group

RUN = [("ppo", 1), ("ppo", 2), ("ppo", 3)]
HOSTILE = (
    "\x1b[2J\x1b]0;title\x07\x9b31m \u202egpj \u2028 \x85 \ud800 </script><script>alert(1)</script> ../../etc"
    + "x" * 10**6
)


def write(folder, places):
    with SampleLog(folder) as log:
        for stage, step in places:
            log.write(stage, step, lambda: [group("42", "41")])


def places(folder):
    return [(row["stage"], row["step"]) for row in read_groups(folder / SAMPLES_FILE)]


def test_programs_that_read_gzip_read_one_line_a_prompt(tmp_path):
    write(tmp_path, RUN)
    with gzip.open(tmp_path / SAMPLES_FILE, "rt") as file:
        assert len(file.read().splitlines()) == 3
    assert places(tmp_path) == RUN


@pytest.mark.parametrize("checkpoint", range(3))
@pytest.mark.parametrize("torn", [b"", b"\x1f\x8b\x08\x00torn"])
def test_a_resumed_file_equals_the_uninterrupted_one(tmp_path, checkpoint, torn):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for folder in (whole, resumed):
        folder.mkdir()
        write(folder, RUN)
    with (resumed / SAMPLES_FILE).open("ab") as file:
        file.write(torn)
    with SampleLog(resumed) as log:
        log.truncate_after(*RUN[checkpoint])
    write(resumed, RUN[checkpoint + 1 :])
    assert (resumed / SAMPLES_FILE).read_bytes() == (whole / SAMPLES_FILE).read_bytes()


def test_texts_that_would_upset_a_terminal_or_a_reader_of_lines_read_back_as_they_were(tmp_path):
    with SampleLog(tmp_path) as log:
        log.write("ppo", 1, lambda: [group("42", prompt=HOSTILE)])
    text = gzip.decompress((tmp_path / SAMPLES_FILE).read_bytes()).decode()
    assert len(text.splitlines()) == 1 and not set(text) & set("\x1b\x07\x9b\u202e")
    assert read_groups(tmp_path / SAMPLES_FILE)[0]["prompt"] == HOSTILE


def test_what_cannot_be_written_is_warned_of_once_and_ends_nothing(tmp_path, capsys):
    with SampleLog(tmp_path) as log:
        log.write("ppo", 1, lambda: [group("42")])
        log.flush()
        os.rename(tmp_path / SAMPLES_FILE, tmp_path / "elsewhere")
        (tmp_path / SAMPLES_FILE).mkdir()  # nothing can be appended to a folder
        for step in (2, 3):
            log.write("ppo", step, lambda: [group("42")])
            log.flush()
        (tmp_path / SAMPLES_FILE).rmdir()
        log.write("ppo", 4, lambda: [group("42")])
    assert places(tmp_path) == [("ppo", 4)]
    assert capsys.readouterr().err.count("warning: samples cannot be written") == 1


def test_a_disk_that_fills_up_leaves_whole_members(tmp_path, monkeypatch, capsys):
    write(tmp_path, RUN[:1])
    size = (tmp_path / SAMPLES_FILE).stat().st_size
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
    try:
        write(tmp_path, RUN[1:2])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / SAMPLES_FILE).stat().st_size == size
    assert "the run goes on without them" in capsys.readouterr().err
    write(tmp_path, RUN[2:])
    assert places(tmp_path) == [RUN[0], RUN[2]]


def test_a_slow_disk_costs_samples_and_not_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    free = threading.Event()

    def held_up():
        free.wait()
        return [group("42")]

    with SampleLog(tmp_path) as log:
        log.write("ppo", 1, held_up)
        for step in (2, 3, 4):
            log.write("ppo", step, lambda: [group("42")])  # returns at once, the thread being held up
        free.set()
    assert places(tmp_path) == [("ppo", 1), ("ppo", 2)]
    assert "those of step 3 are left out" in capsys.readouterr().err


def test_the_threads_processor_time_is_counted(tmp_path):
    with SampleLog(tmp_path) as log:
        log.write("ppo", 1, lambda: [group("42")])
    assert 0 < log.seconds < 1
