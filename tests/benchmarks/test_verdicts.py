# SPDX-License-Identifier: Apache-2.0
"""The table of the GPU's rows says FAIL where a claim is broken or a row ended badly, and nothing else."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks.verdicts import Verdict, at_least, at_most, read_rows, record

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (at_least("MFU", 0.4, 0.4), "PASS"),
        (at_least("MFU", 0.39, 0.4), "FAIL"),
        (at_most("error", 0.1, 0.1), "PASS"),
        (at_most("error", 0.11, 0.1), "FAIL"),
        (at_least("MFU", float("nan"), 0.4), "FAIL"),
        (at_most("error", float("nan"), 0.1), "FAIL"),
        (Verdict("vLLM is not installed"), "SKIP"),
    ],
)
def test_a_number_passes_up_to_its_bound_and_nan_never_does(verdict, status):
    assert verdict.line.startswith(status)


def test_a_line_names_the_number_and_its_bound(tmp_path, capsys):
    record("step", [at_least("MFU", 0.471, 0.35)], {"step_s": 0.5}, tmp_path)
    assert capsys.readouterr().out == "PASS  MFU: 0.471 (bound: >= 0.35)\n"
    assert json.loads((tmp_path / "step.json").read_text())["step_s"] == 0.5


def ended(folder: pathlib.Path, row: str, code: str) -> None:
    (folder / f"{row}.rc").write_text(code + "\n")


def exit_code(folder: pathlib.Path) -> int:
    command = [sys.executable, "-m", "benchmarks.verdicts", folder, folder / "gpu.out"]
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode


def test_rows_that_crash_or_run_out_of_time_fail_whatever_they_wrote_before(tmp_path):
    for row, code in {"good": "0", "late": "124", "crashed": "1", "left_out": "SKIP  not installed: vllm"}.items():
        record(row, [at_least("claim", 1.0, 0.0)], {}, tmp_path)
        ended(tmp_path, row, code)
    ended(tmp_path, "silent", "0")
    (tmp_path / "crashed.log").write_text("Traceback")
    assert {row: result["lines"][0][:4] for row, result in read_rows(tmp_path).items()} == {
        "good": "PASS", "late": "FAIL", "crashed": "FAIL", "left_out": "SKIP", "silent": "FAIL",
    }  # fmt: skip
    assert exit_code(tmp_path) == 1
    assert json.loads((tmp_path / "gpu.out").read_text())["crashed"]["log"] == "Traceback"


def test_rows_that_are_left_out_are_no_failure_yet_an_empty_folder_is(tmp_path):
    assert exit_code(tmp_path) == 1
    record("vllm", [Verdict("vLLM is not installed")], {}, tmp_path)
    ended(tmp_path, "vllm", "0")
    assert exit_code(tmp_path) == 0
