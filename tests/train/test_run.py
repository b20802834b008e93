# SPDX-License-Identifier: Apache-2.0
"""Whole runs: what they leave behind, and that a resumed one equals an uninterrupted one."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from launch.export import export
from ntl_jax.config import ModelSection, OptimizerSection, RewardSection
from ntl_jax.metrics import read_lines
from ntl_jax.train import NonFiniteError, RewardError, run
from ntl_jax.train.journal.journal import Journal

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    return folder, run(tiny, folder)


def numbers(folder: pathlib.Path) -> list[dict]:
    """The metric lines without timings."""
    return [
        {name: value for name, value in line.items() if not name.startswith(("timing_s", "perf"))}
        for line in read_lines(folder / "metrics.jsonl")
    ]


def evaluations(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "evaluations").iterdir()}


def test_a_run_leaves_its_folder(tiny, finished):
    folder, result = finished
    assert json.loads((folder / "config.json").read_text())["seed"] == tiny.seed
    assert json.loads((folder / "environment.json").read_text())["packages"].keys() >= {"jax", "flax", "optax"}
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"warm_start", "ppo"}
    assert result.keys() == {"before", "after"}


def test_metric_lines_carry_stage_and_step_and_evaluations_carry_the_accuracy(finished):
    lines = numbers(finished[0])
    steps = [(line["stage"], line["step"]) for line in lines]
    assert steps == [("warm_start", s) for s in range(1, 5)] + [("ppo", s) for s in range(5)]
    evaluated = [(line["stage"], line["step"]) for line in lines if "val/accuracy" in line]
    assert evaluated == [("warm_start", 4), ("ppo", 0), ("ppo", 2), ("ppo", 4)]
    assert {line["val/num_problems"] for line in lines if "val/accuracy" in line} == {8.0}


def test_samples_hold_prompt_response_truth_and_digit_probabilities(finished):
    samples = [json.loads(line) for line in (finished[0] / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 4 * 4
    for sample in samples:
        assert sample["stage"] == "ppo"
        assert sample["prompt"].endswith("\n")
        assert int(sample["ground_truth"]) >= 0
        assert len(sample["digit_probabilities"]) == len(sample["digit_positions"])
        assert all(0 <= sum(row) <= 1.0001 for row in sample["digit_probabilities"])


def test_every_evaluation_leaves_its_examples(finished):
    files = evaluations(finished[0])
    assert files.keys() == {"warm_start-000004.jsonl", "ppo-000002.jsonl", "ppo-000004.jsonl"}
    rows = [json.loads(line) for line in files["ppo-000004.jsonl"].splitlines()]
    assert np.mean([row["correct"] for row in rows]) == numbers(finished[0])[-1]["val/accuracy"]


def run_until_it_dies(config, folder: pathlib.Path, monkeypatch, checkpoint: tuple[str, int]) -> None:
    """The process dies right after writing the metric line that follows a checkpoint."""
    write, (stage, step) = Journal.write, checkpoint

    names = {"warm_start": "a", "ppo": "b"}  # the order of the stages

    def die_after(self, at_stage, at_step, metrics, scored):
        write(self, at_stage, at_step, metrics, scored)
        if (names[at_stage], at_step) > (names[stage], step):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Journal, "write", die_after)
        run(config, folder)


@pytest.mark.parametrize("stops_at", [("warm_start", 2), ("warm_start", 4), ("ppo", 2)], ids=str)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tiny, finished, tmp_path, monkeypatch, stops_at):
    run_until_it_dies(tiny, tmp_path, monkeypatch, stops_at)
    assert len(numbers(tmp_path)) < len(numbers(finished[0]))
    run(tiny, tmp_path, resume=True)
    assert numbers(tmp_path) == numbers(finished[0])
    assert (tmp_path / "samples.jsonl").read_bytes() == (finished[0] / "samples.jsonl").read_bytes()
    assert evaluations(tmp_path) == evaluations(finished[0])


def test_resuming_a_finished_run_changes_nothing(tiny, finished):
    folder, result = finished
    before = numbers(folder)
    assert run(tiny, folder, resume=True) == result
    assert numbers(folder) == before


def test_every_evaluation_that_is_the_best_so_far_is_saved(tiny, tmp_path):
    trainer = dataclasses.replace(tiny.trainer, eval_every=1, save_every=100, keep_last=100)
    run(dataclasses.replace(tiny, trainer=trainer), tmp_path)
    evaluated = [line for line in numbers(tmp_path) if line["stage"] == "ppo" and line["step"] > 0]
    best, expected = -1.0, {trainer.steps}
    for line in evaluated:
        if line["val/accuracy"] > best:
            best = line["val/accuracy"]
            expected.add(line["step"])
    saved = {int(path.name) for path in (tmp_path / "checkpoints" / "ppo").iterdir() if path.name.isdigit()}
    assert saved == expected


def test_a_run_ends_when_its_target_is_reached_and_stays_ended(tiny, tmp_path):
    """Problems of one answer, which a policy soon knows by heart."""
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(f'{{"question": "{i}?", "answer": "#### 7"}}\n' for i in range(20)))
    config = dataclasses.replace(
        tiny,
        data=dataclasses.replace(tiny.data, train=str(file), eval=str(file)),
        warm_start=dataclasses.replace(tiny.warm_start, steps=30),
        trainer=dataclasses.replace(tiny.trainer, steps=30, eval_every=1, target_accuracy=0.5),
    )
    result = run(config, tmp_path / "run")
    lines = numbers(tmp_path / "run")
    accuracies = [line["val/accuracy"] for line in lines if line["stage"] == "ppo"]
    assert len(accuracies) <= 30 and accuracies[-1] >= 0.5 > max(accuracies[:-1])
    assert run(config, tmp_path / "run", resume=True) == result
    assert numbers(tmp_path / "run") == lines


def test_rows_of_updates_that_do_not_divide_over_the_devices_are_named_before_anything_is_trained(tiny, tmp_path):
    model, algorithm = (
        dataclasses.replace(tiny.model, mesh=(4, 2, 1)),
        dataclasses.replace(tiny.algorithm, minibatches=4),
    )
    named = r"num_samples / algorithm.minibatches = 4: rows of an update must divide over the 8 devices"
    with pytest.raises(ValueError, match=named):
        run(dataclasses.replace(tiny, model=model, algorithm=algorithm), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run_with_a_dump(tiny, tmp_path):
    optimizer = OptimizerSection(learning_rate=1e30, warmup_steps=0, max_grad_norm=1e30)
    config = dataclasses.replace(tiny, warm_start=dataclasses.replace(tiny.warm_start, optimizer=optimizer))
    with pytest.raises(NonFiniteError, match=r"warm_start step \d: a loss or gradient is not finite"):
        run(config, tmp_path)
    dump = json.loads((tmp_path / "non_finite.json").read_text())
    assert dump["stage"] == "warm_start"
    assert len(dump["prompts"]) == config.warm_start.batch_size


def held_out(line: dict) -> dict:
    return {name: value for name, value in line.items() if name.startswith("val/")}


def first_line_of_a_run_from_the_exported_policy(tiny, finished: pathlib.Path, folder: pathlib.Path) -> dict:
    export(finished, folder / "policy")
    model = ModelSection(path=str(folder / "policy"), mesh=(1, 1, 1))
    warm_start, trainer = (dataclasses.replace(s, steps=n) for s, n in ((tiny.warm_start, 0), (tiny.trainer, 1)))
    run(dataclasses.replace(tiny, model=model, warm_start=warm_start, trainer=trainer), folder / "run")
    return numbers(folder / "run")[0]


def test_a_run_goes_on_from_the_exported_policy_of_another(tiny, finished, tmp_path):
    start = first_line_of_a_run_from_the_exported_policy(tiny, finished[0], tmp_path)
    assert held_out(start) == held_out(numbers(finished[0])[-1])


def test_an_average_is_evaluated_exported_and_resumed_while_the_newest_policy_samples(
    tiny, finished, tmp_path, monkeypatch
):
    def averaging(section):
        return dataclasses.replace(section, optimizer=dataclasses.replace(section.optimizer, ema_decay=0.9))

    config = dataclasses.replace(tiny, warm_start=averaging(tiny.warm_start), algorithm=averaging(tiny.algorithm))
    run(config, tmp_path / "whole")
    run_until_it_dies(config, tmp_path / "resumed", monkeypatch, ("ppo", 2))
    run(config, tmp_path / "resumed", resume=True)
    lines = numbers(tmp_path / "whole")
    assert numbers(tmp_path / "resumed") == lines
    # Learnt as without an average, and evaluated otherwise.
    assert lines[2] == numbers(finished[0])[2] and held_out(lines[3]) != held_out(numbers(finished[0])[3])
    assert all(line["actor/first_ratio_deviation"] <= 1e-4 for line in lines if "actor/pg_loss" in line)
    start = first_line_of_a_run_from_the_exported_policy(tiny, tmp_path / "whole", tmp_path)
    assert held_out(start) == held_out(lines[-1])


@pytest.fixture
def reward_of(tiny, tmp_path):
    """The tiny run, without a warm start, with a reward function of this body."""

    def make(body: str):
        path = tmp_path / "my_reward.py"
        path.write_text(f"def score(data_source, solution_str, ground_truth, extra_info, **kwargs):\n    {body}\n")
        warm_start = dataclasses.replace(tiny.warm_start, steps=0)
        trainer = dataclasses.replace(tiny.trainer, steps=1)
        reward = RewardSection(function=f"{path}:score")
        return dataclasses.replace(tiny, warm_start=warm_start, trainer=trainer, reward=reward)

    return make


def test_a_reward_that_always_fails_stops_the_run_with_its_tracebacks(reward_of, tmp_path):
    config = reward_of("return 1 / 0")
    with pytest.raises(RewardError, match=r"ppo step 1: .* on all 16 samples(.|\n)*ZeroDivisionError"):
        run(config, tmp_path / "run")
    lines = read_lines(tmp_path / "run" / "reward_errors.jsonl")
    assert len(lines) == 16
    assert all("my_reward.py" in line["error"] for line in lines)


def test_a_reward_that_fails_now_and_then_costs_its_samples_and_leaves_the_tracebacks(reward_of, tmp_path):
    config = reward_of("score.calls = getattr(score, 'calls', -1) + 1; return 1 / (score.calls % 4)")
    run(config, tmp_path / "run")
    assert len(read_lines(tmp_path / "run" / "reward_errors.jsonl")) == 4
    step = [line for line in numbers(tmp_path / "run") if line["stage"] == "ppo"][-1]
    assert step["reward/dropped"] == 4


def test_real_gsm8k_text_runs_through_both_stages(tiny, tmp_path):
    data = ROOT.parent / "shared" / "data" / "gsm8k"
    if not data.is_dir():
        pytest.skip("the GSM8K files are not beside the repository")
    files = {"train": str(data / "train.jsonl"), "eval": str(data / "test.jsonl")}
    section = dataclasses.replace(tiny.data, **files, max_prompt_tokens=96, max_solution_tokens=96)
    config = dataclasses.replace(tiny, data=section, trainer=dataclasses.replace(tiny.trainer, steps=1))
    run(dataclasses.replace(config, warm_start=dataclasses.replace(tiny.warm_start, steps=1)), tmp_path)
    lines = numbers(tmp_path)
    assert [(line["stage"], line["step"]) for line in lines] == [("warm_start", 1), ("ppo", 0), ("ppo", 1)]
    assert all(np.isfinite(line["val/accuracy"]) for line in lines if "val/accuracy" in line)
