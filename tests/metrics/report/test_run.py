# SPDX-License-Identifier: Apache-2.0
"""What a page shows of a run, in whatever state its folder is."""

import shutil

import pytest

from ntl_jax.metrics.report.blocks import Blocks
from ntl_jax.metrics.report.run import read_run
from ntl_jax.run_folder import claimed
from tests.logged import write_run


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
    assert run["samples_per_iteration"] == 8 and run["metrics"] == "b0" and len(run["samples"]) == 4
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
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"[1]", b"{"])
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
