# SPDX-License-Identifier: Apache-2.0
"""What a page shows of a run, in whatever state its folder is."""

import dataclasses
import json
import shutil

import pytest

from ntl_jax.config import TrainerSection, WarmStartSection
from ntl_jax.metrics.report.blocks import Blocks
from ntl_jax.metrics.report.run import read_run
from ntl_jax.run_folder import claimed
from tests.logged import CONFIG, write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "mine")


def test_a_finished_run_has_its_figures(folder):
    run, columns = read_run(folder, Blocks())
    assert (run["name"], run["status"], run["status_text"]) == ("mine", "finished", "4 of 4 iterations")
    assert run["headline"] == [
        ["held-out accuracy", "25.0% → 50.0%"],
        ["reward", "0.1 → 0.4"],
        ["iterations took", "0:00:03"],
    ]
    assert run["prompts_per_iteration"] == 4 and run["metrics"] == "b0" and len(run["samples"]) == 4
    assert columns["ppo"]["steps"] == [1, 2, 3, 4] and run["notes"] == []
    assert run["environment"]["packages"] == {"jax": "0.10.2"}


def test_the_state_of_a_run_is_told_apart(tmp_path, folder):
    with claimed(folder, resume=True):
        assert read_run(folder, Blocks())[0]["status"] == "running"
    assert read_run(write_run(tmp_path / "short", 2), Blocks())[0]["status"] == "stopped"
    (folder / "error.txt").write_text("Traceback\nValueError: no")
    run, _ = read_run(folder, Blocks())
    assert (run["status"], run["error"]) == ("failed", "Traceback\nValueError: no")


def test_settings_stand_beside_their_defaults(folder):
    settings = {path: (default, value) for path, default, value in read_run(folder, Blocks())[0]["settings"]}
    assert settings["rollout.num_samples"] == (8, 2) and settings["seed"] == (0, 0)
    assert settings["data.operations"] == (["+"], ["+"])


@pytest.mark.parametrize("name", ["config.json", "environment.json", "samples.jsonl.gz", "reward_errors.jsonl"])
@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe", b"[1]", b"{", b'{"a": 1e400}', b'{"trainer": {"steps": "10"}}']
)
def test_a_file_that_is_missing_or_damaged_costs_only_what_it_holds(folder, name, content):
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    run, columns = read_run(folder, Blocks())
    assert run["headline"] and columns["ppo"]["steps"] == [1, 2, 3, 4]


def test_a_run_without_metrics_is_shown_too(folder):
    (folder / "metrics.jsonl").unlink()
    run, _ = read_run(folder, Blocks())
    assert (run["status"], run["headline"]) == ("stopped", []) and len(run["samples"]) == 4


def test_a_folder_without_a_run_is_refused(tmp_path):
    shutil.copytree(tmp_path, tmp_path / "empty")
    with pytest.raises(ValueError, match=r"empty holds no run: give a folder that launch/train\.py made"):
        read_run(tmp_path / "empty", Blocks())


def test_a_run_that_ended_in_its_warm_start_is_not_finished(tmp_path):
    config = dataclasses.replace(CONFIG, trainer=TrainerSection(steps=0), warm_start=WarmStartSection(steps=500))
    folder = write_run(tmp_path / "run", config=config)
    (folder / "metrics.jsonl").write_text('{"stage": "warm_start", "step": 3, "val/accuracy": 0.5}\n')
    run, _ = read_run(folder, Blocks())
    assert (run["status"], run["status_text"]) == ("stopped", "3 of 500 steps")


def test_a_run_that_reached_its_target_is_finished(tmp_path):
    config = dataclasses.replace(CONFIG, trainer=TrainerSection(steps=100, target_accuracy=0.5))
    assert read_run(write_run(tmp_path / "run", config=config), Blocks())[0]["status"] == "finished"


@pytest.mark.parametrize("value", ["1e300", "1e15", "1" * 400, "NaN", '"x"', "[1]"])
def test_numbers_that_no_run_writes_are_gaps_or_left_out(folder, value):
    names = ("timing_s/step", "critic/score/mean", "val/accuracy", "pool/restarts")
    row = ", ".join(f'"{name}": {value}' for name in names)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(f'{{"stage": "ppo", "step": 9, {row}}}\n')
    with (folder / "reward_errors.jsonl").open("a") as file:
        file.write(f'{{"error": "e", "step": {value}}}\n')
    run, _ = read_run(folder, Blocks())
    assert json.dumps(run, allow_nan=False)
