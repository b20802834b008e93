# SPDX-License-Identifier: Apache-2.0
"""What a finished run leaves in its folder, and what is refused before anything is trained."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from ntl_jax.metrics import read_lines
from ntl_jax.metrics.report.page import is_report
from ntl_jax.metrics.samples.log import SAMPLES_FILE
from ntl_jax.metrics.samples.members import read_groups
from ntl_jax.train import run

FILES = {
    "checkpoints",
    "config.json",
    "digit_info",
    "environment.json",
    "evaluations",
    "metrics.jsonl",
    "ntl_debug.log",
    "profile",
    "report.html",
    "reward_errors.jsonl",
    "samples.jsonl.gz",
}


def lines_of(finished) -> list[dict]:
    return read_lines(finished.folder / "metrics.jsonl")


def test_a_run_leaves_its_folder(finished):
    assert {path.name for path in finished.folder.iterdir()} == FILES
    assert is_report(finished.folder / "report.html")
    assert {path.name for path in (finished.folder / "checkpoints").iterdir()} == {"warm_start", "ppo"}


def test_the_console_shows_what_is_trained_and_what_it_came_to(finished):
    for expected in ("digits 0..9 have ids", "from scratch", "8 held out", "mesh data=1", "before PPO", "after PPO"):
        assert expected in finished.printed
    assert f"run folder: {finished.folder}" in finished.printed
    assert finished.printed.startswith(f"tiny: starting, run folder {finished.folder}\n")
    assert "warning: 100% of the reference solutions do not fit in rollout.max_tokens=24" in finished.printed
    assert [f"{stage}   0/4   compiling" in finished.printed for stage in ("warm_start", "ppo")] == [True, True]


def test_metric_lines_carry_stage_and_step_and_evaluations_carry_the_accuracy(finished):
    lines = lines_of(finished)
    steps = [(line["stage"], line["step"]) for line in lines]
    assert steps == [("warm_start", s) for s in range(1, 5)] + [("ppo", s) for s in range(5)]
    evaluated = [(line["stage"], line["step"]) for line in lines if "val/accuracy" in line]
    assert evaluated == [("warm_start", 4), ("ppo", 0), ("ppo", 2), ("ppo", 4)]
    assert {line["val/num_problems"] for line in lines if "val/accuracy" in line} == {8.0}


def test_sampler_and_trainer_agree_in_the_first_update_of_every_iteration(finished):
    updates = [line for line in lines_of(finished) if "actor/pg_loss" in line]
    assert len(updates) == 4 and all(line["actor/first_ratio_deviation"] <= 1e-4 for line in updates)


def test_samples_are_logged_as_whole_groups_with_what_the_trainer_computed(finished):
    groups = read_groups(finished.folder / SAMPLES_FILE)
    assert [(group["stage"], group["step"]) for group in groups] == [("ppo", i // 2) for i in range(2, 10)]
    num_samples = finished.config.rollout.num_samples
    for group in groups:
        assert group["prompt"].endswith("\n") and float(group["ground_truth"]) >= 0
        assert [sample["sample_index"] for sample in group["samples"]] == list(range(num_samples))
        for sample in group["samples"]:
            size = len(sample["token_ids"])
            assert len(sample["log_probs"]) == len(sample["advantages"]) == len(sample["token_starts"]) == size
            if sample["reward"] is not None:  # a sample without a reward is in no update
                np.testing.assert_allclose(sample["actor_log_probs"], sample["log_probs"], atol=2e-4)
            assert len(sample["digit_probabilities"]) == len(sample["digit_positions"]) == len(sample["digit_truth"])
            assert all(0 <= sum(row) <= 1.001 for row in sample["digit_probabilities"])
    assert any(sample["actor_entropy"] is not None for group in groups for sample in group["samples"])


def test_every_evaluation_leaves_its_examples(finished):
    files = {path.name: path.read_text() for path in (finished.folder / "evaluations").iterdir()}
    assert files.keys() == {"warm_start-000004.jsonl", "ppo-000002.jsonl", "ppo-000004.jsonl"}
    rows = [json.loads(line) for line in files["ppo-000004.jsonl"].splitlines()]
    assert np.mean([row["correct"] for row in rows]) == lines_of(finished)[-1]["val/accuracy"]


def test_a_reward_that_fails_now_and_then_costs_its_samples_and_leaves_the_tracebacks(finished):
    errors = read_lines(finished.folder / "reward_errors.jsonl")
    dropped = [line["reward/dropped"] for line in lines_of(finished) if "reward/dropped" in line]
    assert len(errors) == sum(dropped) > 0 and len(dropped) == 4
    assert all("reward.py" in line["error"] and "no reward for this length" in line["error"] for line in errors)


def test_debug_mode_and_saved_records_leave_their_files(finished):
    assert sorted(path.name for path in (finished.folder / "digit_info").iterdir()) == [
        f"{step:06}.npz" for step in range(1, 5)
    ]
    log = (finished.folder / "ntl_debug.log").read_text()
    assert log.count("true answer") == 4 * 2 * finished.config.rollout.num_samples


def test_resuming_a_finished_run_changes_nothing(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    lines = lines_of(finished)
    after = {"before": lines[4]["val/accuracy"], "after": lines[-1]["val/accuracy"]}
    assert run(finished.config, folder, resume=True) == after
    for name in ("metrics.jsonl", "samples.jsonl.gz", "config.json"):
        assert (folder / name).read_bytes() == (finished.folder / name).read_bytes()


def test_what_does_not_fit_the_devices_is_refused_before_anything_is_trained(finished, tmp_path):
    config = finished.config
    model = dataclasses.replace(config.model, mesh=(4, 2, 1))
    algorithm = dataclasses.replace(config.algorithm, minibatches=4)
    with pytest.raises(ValueError, match=r"minibatches = 4: rows of an update must divide over the 8 devices"):
        run(dataclasses.replace(config, model=model, algorithm=algorithm), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_stored_configuration_is_that_of_the_run(finished):
    stored = json.loads((finished.folder / "config.json").read_text())
    assert stored["seed"] == finished.config.seed and tuple(stored["data"]["train"]) == finished.config.data.train
