# SPDX-License-Identifier: Apache-2.0
"""The log is where its path says, loses no line when it is rotated, and is cut back where a run resumes."""

import datetime
import json
import pathlib

import pytest

from ntl_jax.metrics.divergence.log import DivergenceLog


def written(path: pathlib.Path) -> list[int]:
    return [json.loads(line)["iteration"] for line in path.read_text().splitlines()]


def test_iteration_and_date_are_filled_in_and_folders_are_made(tmp_path):
    log = DivergenceLog(tmp_path / "{date}" / "step-{iteration}.jsonl")
    log.write([{"iteration": 7}], 7)
    assert written(tmp_path / datetime.date.today().isoformat() / "step-7.jsonl") == [7]


def test_a_path_that_cannot_be_written_fails_at_once_and_one_that_can_leaves_no_empty_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        DivergenceLog(tmp_path / "file" / "log.jsonl")
    DivergenceLog(tmp_path / "log.jsonl")
    assert not (tmp_path / "log.jsonl").exists()


def test_what_is_there_is_kept_and_appended_to(tmp_path):
    for iteration in (1, 2):
        DivergenceLog(tmp_path / "log.jsonl").write([{"iteration": iteration}], iteration)
    assert written(tmp_path / "log.jsonl") == [1, 2]


def test_a_file_that_has_grown_is_rotated_and_no_line_is_lost(tmp_path):
    log = DivergenceLog(tmp_path / "log.jsonl", max_megabytes=30e-6)
    for iteration in range(6):
        log.write([{"iteration": iteration}], iteration)
    parts = [tmp_path / f"log.jsonl{end}" for end in (".2", ".1", "")]
    assert [written(part) for part in parts] == [[0, 1], [2, 3], [4, 5]]


def test_cutting_back_removes_later_iterations_and_a_torn_line_in_all_parts(tmp_path):
    log = DivergenceLog(tmp_path / "log[1].jsonl", max_megabytes=30e-6)
    for iteration in range(5):
        log.write([{"iteration": iteration}], iteration)
    with (tmp_path / "log[1].jsonl").open("a") as file:
        file.write('{"iteration": 2, "tor')
    log.cut_back(2)
    assert {path.name: written(path) for path in tmp_path.iterdir()} == {
        "log[1].jsonl.2": [0, 1],
        "log[1].jsonl.1": [2],
    }


@pytest.mark.parametrize("name", ["{iteration}.json", "{iteration:03d}/log.jsonl", "{date}-{iteration}", "{iteration}"])
def test_cutting_back_reaches_the_files_of_all_iterations_and_no_others(tmp_path, name):
    (tmp_path / "config.json").write_text("{\n}")
    (tmp_path / "checkpoints").mkdir()
    log = DivergenceLog(tmp_path / name)
    for iteration in (1, 2, 3):
        log.write([{"iteration": iteration}], iteration)
    log.cut_back(1)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "config.json"]
    assert [written(path) for path in left] == [[1]]
    assert (tmp_path / "config.json").read_text() == "{\n}"
