# SPDX-License-Identifier: Apache-2.0
"""What a run leaves in its folder while it goes on, and what is taken back when it resumes."""

import dataclasses
import json

import numpy as np
import pytest

from ntl_jax.metrics import read_lines
from ntl_jax.metrics.samples.log import SAMPLES_FILE
from ntl_jax.metrics.samples.members import read_groups
from ntl_jax.records import Version, Weights
from ntl_jax.train.factory import build_evaluator
from ntl_jax.train.journal.journal import Journal
from ntl_jax.train.journal.step_samples import StepSamples
from tests.samples import answering


@pytest.fixture
def config(setup):
    config = setup.config
    return dataclasses.replace(
        config,
        ntl=dataclasses.replace(config.ntl, save_digit_info=True),
        trainer=dataclasses.replace(config.trainer, logged_prompts=1),
    )


def samples_of(scored) -> StepSamples:
    return StepSamples(scored, np.zeros((len(scored.trajectories), 24)))


def logged(folder) -> list[tuple[str, int]]:
    return [(group["stage"], group["step"]) for group in read_groups(folder / SAMPLES_FILE)]


def steps(folder, name: str) -> list[tuple[str, int]]:
    return [(line["stage"], line["step"]) for line in read_lines(folder / name)]


def test_a_step_leaves_its_metrics_the_samples_of_some_prompts_and_its_record(config, scored, tmp_path):
    with Journal(config, tmp_path) as journal:
        journal.write("warm_start", 1, {"warm_start/loss": 1.5}, None)
        journal.write("ppo", 1, {"reward/accuracy": 0.5}, samples_of(scored))
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line.get("reward/accuracy") for line in lines] == [None, 0.5]
    (group,) = read_groups(tmp_path / SAMPLES_FILE)
    assert group["prompt"] == scored.prompts[0].text and len(group["samples"]) == 4
    assert [path.name for path in (tmp_path / "digit_info").iterdir()] == ["000001.npz"]


def test_the_record_is_saved_only_if_asked_for(setup, scored, tmp_path):
    with Journal(setup.config, tmp_path) as journal:
        journal.write("ppo", 1, {}, samples_of(scored))
    assert not (tmp_path / "digit_info").exists() and len(logged(tmp_path)) == 2


def test_reasons_for_missing_rewards_are_written_with_their_prompts(config, scored, tmp_path):
    with Journal(config, tmp_path) as journal:
        journal.write_reward_errors("ppo", 3, scored)
    (line,) = read_lines(tmp_path / "reward_errors.jsonl")
    assert line == {"stage": "ppo", "step": 3, "prompt": scored.prompts[7].index, "error": "no reward"}


def test_an_evaluation_leaves_every_problem_with_its_responses(setup, config, tmp_path):
    engine = answering(lambda request, index: f"#### {request.prompt.ground_truth}")
    evaluate = build_evaluator(config, setup.policy, setup.prompts, engine, setup.scorer, setup.digits)
    with Journal(config, tmp_path) as journal:
        journal.write_evaluation("ppo", 2, evaluate(Weights(Version(2), {})))
    lines = (tmp_path / "evaluations" / "ppo-000002.jsonl").read_text().splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == [prompt.text for prompt in setup.prompts.held_out]
    assert all(json.loads(line)["correct"] for line in lines)


def test_lines_past_a_checkpoint_are_taken_back(config, scored, tmp_path):
    with Journal(config, tmp_path) as journal:
        journal.write("warm_start", 4, {}, None)
        for step in range(4):
            journal.write("ppo", step, {}, samples_of(scored) if step else None)
            journal.write_reward_errors("ppo", step, scored)
        journal.cut_back("ppo", 2)
        journal.write("ppo", 3, {"reward/accuracy": 1.0}, None)
    expected = [("warm_start", 4), ("ppo", 0), ("ppo", 1), ("ppo", 2), ("ppo", 3)]
    assert steps(tmp_path, "metrics.jsonl") == expected
    assert logged(tmp_path) == [("ppo", 1), ("ppo", 2)]
    assert steps(tmp_path, "reward_errors.jsonl") == [("ppo", 0), ("ppo", 1), ("ppo", 2)]
