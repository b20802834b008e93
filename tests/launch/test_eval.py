# SPDX-License-Identifier: Apache-2.0
"""Evaluating runs and models from the command line: the same metrics as the run's own."""

import json

import pytest

from launch import eval as evaluation
from launch import export
from ntl_jax.config import DataSection, ModelSection, RolloutSection, RunConfig, TrainerSection, WarmStartSection
from ntl_jax.metrics import read_lines
from ntl_jax.train import run as train

CONFIG = RunConfig(
    name="tiny",
    model=ModelSection(num_layers=1, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=32),
    data=DataSection(tiers=(1,), max_number=9, num_train=50),
    warm_start=WarmStartSection(steps=2, batch_size=8),
    rollout=RolloutSection(prompts_per_step=8, num_samples=2, max_tokens=8),
    trainer=TrainerSection(steps=1, eval_problems=16, eval_samples=2),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(CONFIG, folder)
    return folder


def evaluated(source, folder, *options):
    """MetricSums and examples of a command that succeeds."""
    assert evaluation.main([str(source), f"--output={folder}", *options]) == 0
    examples = [json.loads(line) for line in (folder / "examples.jsonl").read_text().splitlines()]
    return json.loads((folder / "metrics.json").read_text()), examples


def test_a_run_is_evaluated_to_its_own_metrics_and_examples(run, tmp_path, capsys):
    summary, _ = evaluated(run, tmp_path)
    last = read_lines(run / "metrics.jsonl")[-1]
    assert summary["metrics"] == {name: last[name] for name in summary["metrics"]}
    assert {"val/accuracy", "val/mean@2", "val/maj@2", "val/pass@2"} <= summary["metrics"].keys()
    assert summary["policy"] == f"{run} after step 1 of stage ppo"
    assert (tmp_path / "examples.jsonl").read_text() == (run / "evaluations" / "ppo-000001.jsonl").read_text()
    assert "val/accuracy" in capsys.readouterr().out


def test_an_exported_model_is_evaluated_on_the_whole_of_a_file(run, tmp_path):
    export.export(run, tmp_path / "policy")
    rows = [{"question": f"Tom has {a} cups and buys 2 more.", "answer": f"#### {a + 2}"} for a in range(1, 6)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [f"--data={tmp_path / 'test.jsonl'}", "--max-tokens=8", "--samples=3", "--top-p=0.9"]
    summary, examples = evaluated(tmp_path / "policy", tmp_path / "all", *options)
    assert summary["metrics"]["val/num_problems"] == 5
    assert [example["ground_truth"] for example in examples] == ["3", "4", "5", "6", "7"]
    assert all(len(example["samples"]) == 3 for example in examples)
    few, _ = evaluated(run, tmp_path / "few", *options, "--problems=2", "--checkpoint=best")
    assert few["metrics"]["val/num_problems"] == 2


def test_mistakes_are_named(run, tmp_path, capsys):
    for options, message in [
        ([str(tmp_path / "nowhere")], "is no folder here"),
        ([str(run), "--data=nowhere.jsonl"], "nowhere.jsonl does not exist"),
        ([str(run), "--samples=-1", "--top-p=2"], "2 problems in the configuration"),
        ([str(run), "--problems=0"], "trainer.eval_problems=0: must be None or at least 1"),
    ]:
        assert evaluation.main(options) == 1
        assert message in capsys.readouterr().err


def test_escapes_in_the_template_are_read_and_the_prompt_is_shown(run, tmp_path, capsys):
    summary, examples = evaluated(run, tmp_path, r"--template={question}\nAnswer in \boxed{}:\t")
    assert examples[0]["prompt"].endswith("?\nAnswer in \\boxed{}:\t")
    assert r"?\nAnswer in \\boxed{}:\t', " in summary["first prompt"]
    assert summary["first prompt"] in capsys.readouterr().out
