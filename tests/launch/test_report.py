# SPDX-License-Identifier: Apache-2.0
"""launch/report.py: pages of one run and of several, and a served one that is interrupted."""

import pathlib
import signal
import subprocess
import sys
import urllib.request

import pytest

from launch import report
from ntl_jax.metrics.report.page import is_report
from tests.logged import write_run

ROOT = pathlib.Path(__file__).parents[2]


def test_a_run_gets_its_page_in_its_folder_and_again(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    for _ in range(2):
        assert report.main([str(folder)]) == 0
        assert capsys.readouterr().out == f"written to {folder / 'report.html'}\n"
    assert is_report(folder / "report.html")


def test_several_runs_get_a_page_of_their_own(tmp_path):
    first, second = (write_run(tmp_path / name) for name in ("a", "b"))
    assert report.main([str(first), str(second)]) == 0
    assert is_report(first / "comparison.html") and not (first / "report.html").exists()
    assert report.main([str(first), str(second), f"--output={tmp_path / 'mine.html'}"]) == 0
    assert is_report(tmp_path / "mine.html")


def test_a_killed_run_with_torn_files_gets_a_page(tmp_path):
    folder = write_run(tmp_path / "run", 3)
    for name in ("metrics.jsonl", "samples.jsonl.gz"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-7])
    assert report.main([str(folder)]) == 0 and is_report(folder / "report.html")


@pytest.mark.slow
def test_a_served_page_ends_with_an_interrupt(tmp_path):
    folder = write_run(tmp_path / "run")
    command = [sys.executable, "launch/report.py", str(folder), "--watch", "--port=0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().split()[0]
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b'id="report"' in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130 and "Traceback" not in process.stderr.read()
    assert not (folder / "report.html").exists()
