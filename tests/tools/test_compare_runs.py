# SPDX-License-Identifier: Apache-2.0
"""Comparing two run folders: equal ones, other numbers, missing lines, no run."""

import gzip
import json
import shutil

import pytest

from tools import compare_runs


@pytest.fixture
def other(finished, tmp_path):
    """A copy of the finished run."""
    shutil.copytree(finished.folder, tmp_path / "other", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "other"


def change(path, step: int, **values) -> None:
    """Other values in the lines of a step."""
    is_packed = path.suffix == ".gz"
    content = gzip.decompress(path.read_bytes()) if is_packed else path.read_bytes()
    lines = [json.loads(line) for line in content.splitlines()]
    changed = [line | values if line["step"] == step and line["stage"] == "ppo" else line for line in lines]
    text = "".join(json.dumps(line) + "\n" for line in changed).encode()
    path.write_bytes(gzip.compress(text) if is_packed else text)


def test_a_run_agrees_with_itself_and_with_one_of_other_times(finished, other, capsys):
    assert compare_runs.main([str(finished.folder), str(finished.folder)]) == 0
    change(
        other / "metrics.jsonl", 2, **{"timing_s/step": 77.0, "perf/throughput": 1.0, "perf/cpu_memory_used_gb": 9.0}
    )
    assert compare_runs.main([str(finished.folder), str(other)]) == 0
    # Metrics, samples, evaluations of eight problems.
    assert capsys.readouterr().out.splitlines()[-1] == f"{9 + 8 + 3 * 8} lines compared, 0 differences"


def test_another_number_is_a_difference_that_is_shown_by_its_place(finished, other, capsys):
    change(other / "metrics.jsonl", 2, **{"actor/entropy": 5.0})
    assert compare_runs.main([str(finished.folder), str(other)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("metrics.jsonl:7: actor/entropy: 6.") and first.endswith(", 5.0")
    assert last.endswith("1 differences")


def test_another_response_is_a_difference(finished, other, capsys):
    change(other / "samples.jsonl.gz", 3, ground_truth="-7")
    assert compare_runs.main([str(finished.folder), str(other)]) == 1
    assert "samples.jsonl.gz:5: ground_truth: " in capsys.readouterr().out


def test_a_missing_line_is_a_difference(finished, other, capsys):
    (other / "evaluations" / "ppo-000002.jsonl").unlink()
    assert compare_runs.main([str(finished.folder), str(other)]) == 1
    assert f"evaluations/ppo-000002.jsonl:1: only in {finished.folder}" in capsys.readouterr().out


def test_numbers_may_differ_by_the_tolerance_and_only_the_first_steps_may_be_asked_for(finished, other):
    runs = [str(finished.folder), str(other)]
    change(other / "metrics.jsonl", 3, **{"actor/skipped_updates": 1e-4})
    assert compare_runs.main(runs) == 1
    assert compare_runs.main([*runs, "--tolerance=1e-3"]) == 0
    assert compare_runs.main([*runs, "--tolerance=1e-5"]) == 1
    assert compare_runs.main([*runs, "--steps=2"]) == 0


def test_a_folder_without_a_run_is_named(finished, tmp_path, capsys):
    assert compare_runs.main([str(finished.folder), str(tmp_path)]) == 2
    assert f"error: {tmp_path} holds no run" in capsys.readouterr().err
