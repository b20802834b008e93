# SPDX-License-Identifier: Apache-2.0
"""Evaluating runs and models from the command line: the same metrics as the run's own."""

import dataclasses
import json
import pathlib
import shutil

import pytest

from launch import eval as evaluation
from launch import export
from ntl_jax.config import DataSection, FieldsSection, RunConfig, TrainerSection, config_to_json
from ntl_jax.metrics import read_lines
from ntl_jax.policy_options import AskedPolicy
from ntl_jax.train import RewardError, WorkersLostError


def evaluated(source, folder, *options):
    """Metrics and examples of a command that succeeds."""
    assert evaluation.main([str(source), f"--output={folder}", *options]) == 0
    examples = [json.loads(line) for line in (folder / "examples.jsonl").read_text().splitlines()]
    return json.loads((folder / "metrics.json").read_text()), examples


def test_a_run_is_evaluated_to_its_own_metrics_and_examples(finished, tmp_path, capsys):
    summary, _ = evaluated(finished.folder, tmp_path)
    last = read_lines(finished.folder / "metrics.jsonl")[-1]
    assert summary["metrics"] == {name: last[name] for name in summary["metrics"]}
    assert {"val/accuracy", "val/mean@2", "val/maj@2", "val/pass@2"} <= summary["metrics"].keys()
    assert summary["policy"] == f"{finished.folder} after step 4 of stage ppo"
    examples = (finished.folder / "evaluations" / "ppo-000004.jsonl").read_text()
    assert (tmp_path / "examples.jsonl").read_text() == examples
    assert "val/accuracy" in capsys.readouterr().out


def test_an_exported_model_is_evaluated_on_the_whole_of_a_file_with_the_responses_of_its_run(finished, tmp_path):
    """The run's own evaluation asks eight of the ten problems. A reward is no part of a model."""
    export.export(finished.folder, tmp_path / "policy")
    options = [f"--data={finished.inputs / 'problems.jsonl'}", "--max-tokens=24", "--samples=2", "--top-p=0.9"]
    summary, examples = evaluated(tmp_path / "policy", tmp_path / "all", *options)
    assert summary["metrics"]["val/num_problems"] == len(examples) == 10
    of_run = (finished.folder / "evaluations" / "ppo-000004.jsonl").read_text().splitlines()

    def responses(row: dict) -> list[str]:
        return [row["response"], *(sample["response"] for sample in row["samples"])]

    assert [responses(row) for row in examples[:8]] == [responses(json.loads(row)) for row in of_run]


def test_options_change_how_a_run_is_evaluated_and_escapes_in_the_template_are_read(finished, tmp_path, capsys):
    options = ["--problems=2", "--checkpoint=best", "--samples=0", r"--template={question}\nAnswer in \boxed{}:\t"]
    options += ["--task=calculations", "--answer.form=last_number"]
    summary, examples = evaluated(finished.folder, tmp_path, *options)
    assert summary["metrics"]["val/num_problems"] == 2 and "val/mean@2" not in summary["metrics"]
    assert all(row["prompt"].startswith("What is ") for row in examples)  # not the questions of the run's files
    assert summary["evaluation"] == "2 problems of calculations, greedy"
    assert summary["answers"].startswith("the last number")
    assert examples[0]["prompt"].endswith("?\nAnswer in \\boxed{}:\t")
    assert r"?\nAnswer in \\boxed{}:\t', " in summary["first prompt"]
    assert summary["first prompt"] in capsys.readouterr().out


def test_two_policies_are_compared_on_the_suite_by_their_answers_to_the_same_problems(finished, tmp_path, capsys):
    export.export(finished.folder, tmp_path / "model")
    options = ["--suite=numeric", "--problems=1", "--samples=2", "--max-tokens=8", "--max-prompt-tokens=60"]
    options += [f"--data={finished.inputs / 'problems.jsonl'}", f"--against={tmp_path / 'model'}"]
    summary, examples = evaluated(finished.folder, tmp_path / "out", *options)
    rows = {row["name"]: row for row in summary["rows"]}
    assert summary["suite"] == "numeric" and rows["all"]["problems"] == len(examples)
    assert {"smape", "median_relative_error", "order_of_magnitude", "pass@2"} <= rows["all"]["metrics"].keys()
    assert rows[f"file {finished.inputs / 'problems.jsonl'}"]["problems"] == 1
    assert summary["policy"].endswith("of stage ppo") and summary["against"] == str(tmp_path / "model")
    for row in rows.values():  # the same policy under two names
        assert row["metrics"] == row["against"]
        assert {tuple(d.values()) for d in row["difference"].values()} <= {(0, 0, 0), (None, None, None)}
    assert (tmp_path / "out" / "against.jsonl").exists() and "difference" in capsys.readouterr().out


def test_mistakes_are_named(finished, tmp_path, capsys):
    (tmp_path / "config.json").write_text(config_to_json(finished.config))
    for options, message in [
        ([str(tmp_path / "nowhere")], "is not a folder"),
        ([str(finished.folder), "--data=nowhere.jsonl"], "nowhere.jsonl' does not exist"),
        ([str(finished.folder), "--samples=-1", "--top-p=2"], "2 problems in the configuration"),
        ([str(finished.folder), "--problems=0"], "--problems=0: must be None or lie in [1, 1,000,000]"),
        ([str(tmp_path)], "has no checkpoint yet"),
    ]:
        assert evaluation.main(options) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("error", [RewardError("the function hangs"), WorkersLostError("0 of 2 workers are left")])
def test_an_evaluation_that_rewards_or_workers_end_says_so_in_a_line(error, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr(evaluation, "evaluate", fail)
    assert evaluation.main(["runs/mine"]) == 1
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_reward_function_that_gives_no_score_is_refused_and_its_processes_end(finished, tmp_path, capsys):
    function = tmp_path / "mine.py"
    function.write_text("def score(**_):\n    raise ValueError('no key')\n")
    reward = dataclasses.replace(finished.config.reward, function=f"{function}:score")
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    (run / "config.json").write_text(config_to_json(dataclasses.replace(finished.config, reward=reward)))
    before = children()
    assert evaluation.main([str(run)]) == 1
    assert "a trial call with the reference solution" in capsys.readouterr().err and children() == before


def children() -> set[str]:
    tasks = pathlib.Path("/proc/self/task").glob("*/children")
    return {number for path in tasks for number in path.read_text().split()}


@pytest.mark.parametrize(
    ("options", "section", "expected"),
    [
        ([], "data", {"train": (), "num_train": 4}),
        (
            ["--data", "a.jsonl", "b.csv", "--fields.answer=x"],
            "data",
            {"train": (), "num_train": 4, "eval": ("a.jsonl", "b.csv"), "fields": FieldsSection(answer="x")},
        ),
        (["--mesh", "2", "1", "1"], "model", {"mesh": (2, 1, 1)}),
        (
            ["--task=calculations"],
            "data",
            {"train": (), "eval": (), "task": "calculations", "num_train": 4},
        ),
        (
            ["--task=calculations", "--few-shot=9"],
            "data",
            {"train": (), "eval": (), "task": "calculations", "num_train": 10},
        ),
        (["--stop-strings", "Q:", r"\n"], "rollout", {"stop_strings": ("Q:", "\n")}),
        (["--engine=vllm", "--max-tokens=5"], "rollout", {"engine": "vllm", "max_tokens": 5}),
        (["--samples=3", "--temperature=0.5"], "trainer", {"eval_samples": 3, "eval_temperature": 0.5}),
        (["--data=a.jsonl"], "trainer", {"eval_problems": None}),
        (["--suite=numeric"], "trainer", {"eval_problems": evaluation.SUITE_PROBLEMS}),
        (["--suite=numeric", "--problems=5", "--samples=0"], "trainer", {"eval_problems": 5, "eval_samples": 0}),
    ],
)
def test_settings_are_those_of_the_run_changed_by_the_options(finished, options, section, expected):
    args = evaluation._parser().parse_args([str(finished.folder), *options])
    found, own = evaluation._settings(args, AskedPolicy.of(str(finished.folder))), finished.config
    assert getattr(found, section) == dataclasses.replace(getattr(own, section), **expected)


@pytest.mark.parametrize("data", [{"train": ("a.jsonl",), "eval": ("b.jsonl",)}, {"task": "mine.py:Mine"}, {}])
@pytest.mark.parametrize("options", [(), ("--few-shot=40",), ("--data=c.jsonl",), ("--task=mine.py:Mine",)])
def test_problems_of_every_kind_can_be_asked_with_examples_and_without(data, options):
    asked = AskedPolicy("a", True, "newest", RunConfig(data=DataSection(**data)))
    config = evaluation._settings(evaluation._parser().parse_args(["a", *options]), asked)
    config.validate(asked.config)
    assert config.data.eval or not config.data.train


def test_generated_problems_are_as_many_as_by_default_where_all_of_a_file_were_asked(finished):
    config = dataclasses.replace(
        finished.config, trainer=dataclasses.replace(finished.config.trainer, eval_problems=None)
    )
    asked = AskedPolicy(str(finished.folder), True, "newest", config)
    args = evaluation._parser().parse_args([str(finished.folder), "--task=calculations"])
    assert evaluation._settings(args, asked).trainer.eval_problems == TrainerSection().eval_problems
