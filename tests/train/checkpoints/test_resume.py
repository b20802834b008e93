# SPDX-License-Identifier: Apache-2.0
"""A resumed run must match the run that it continues."""

import dataclasses
import json

import jax
import pytest

from ntl_jax.config import AlgorithmSection, ModelSection, OptimizerSection, RewardSection, RunConfig, TrainerSection
from ntl_jax.experience.scorer import Scorer
from ntl_jax.metrics import read_lines
from ntl_jax.records import Prompt
from ntl_jax.train import run
from ntl_jax.train.checkpoints.checkpointer import newest_meta
from ntl_jax.train.checkpoints.resume import check_data, check_schedule, fingerprints, record
from ntl_jax.train.factory import assemble


def with_optimizer(steps: int, **settings) -> RunConfig:
    algorithm = AlgorithmSection(optimizer=OptimizerSection(**settings), advantage="gae", critic_warmup=2, epochs=3)
    return RunConfig(algorithm=algorithm, trainer=TrainerSection(steps=steps))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_more_steps_that_stretch_a_decaying_schedule_are_refused_in_one_line(schedule):
    began = record(with_optimizer(4, schedule=schedule), "ppo", {})
    check_schedule(with_optimizer(4, schedule=schedule), "ppo", began)
    with pytest.raises(ValueError) as error:
        check_schedule(with_optimizer(7, schedule=schedule), "ppo", began)
    # Three epochs of two minibatches; the first two iterations update only the critic.
    assert "spans 12 updates of the policy and 24 updates of the critic in this run" in str(error.value)
    assert "would span 30 updates of the policy and 42 updates of the critic" in str(error.value)
    assert "--allow-changed-schedule" in str(error.value) and "\n" not in str(error.value)


def test_more_steps_are_allowed_for_constant_schedules_and_those_that_have_not_started():
    assert check_schedule(with_optimizer(7), "ppo", record(with_optimizer(4), "ppo", {})) is None
    before, after = (with_optimizer(steps, schedule="cosine") for steps in (4, 7))
    assert check_schedule(after, "warm_start", record(before, "warm_start", {})) is None


def test_checkpoints_without_a_record_are_not_compared(tiny_parts):
    assert check_schedule(with_optimizer(7, schedule="cosine"), "ppo", {"iteration": 3}) is None
    assert check_data(tiny_parts.config, fingerprints(tiny_parts), {"iteration": 3}) is None


def changed(prompts: list[Prompt], **fields) -> list[Prompt]:
    return [*prompts[:-1], dataclasses.replace(prompts[-1], **fields)]


@pytest.mark.parametrize(
    "fields",
    [{"text": "2+3?\n"}, {"ground_truth": "1234"}, {"extra_info": {"solution": "#### 1234"}}, {"data_source": "other"}],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize(("name", "setting"), [("train_prompts", "data.train"), ("eval_prompts", "data.eval")])
def test_one_changed_row_changes_the_fingerprint(tiny_parts, name, setting, fields):
    other = dataclasses.replace(tiny_parts, **{name: changed(getattr(tiny_parts, name), **fields)})
    began, found = fingerprints(tiny_parts), fingerprints(other)
    assert {key for key in began if began[key] != found[key]} == {setting}


def test_another_order_of_rows_changes_the_fingerprint(tiny_parts):
    other = dataclasses.replace(tiny_parts, train_prompts=tiny_parts.train_prompts[::-1])
    assert fingerprints(other)["data.train"] != fingerprints(tiny_parts)["data.train"]


def test_tokenizer_and_stop_tokens_have_separate_fingerprints(tiny, tiny_parts):
    tokenizer = assemble(tiny).tokenizer
    tokenizer.add_tokens(["<new>"])
    began = fingerprints(tiny_parts)
    assert (
        fingerprints(dataclasses.replace(tiny_parts, tokenizer=tokenizer))["data.tokenizer"] != began["data.tokenizer"]
    )
    ends = dataclasses.replace(tiny_parts.vocabulary, stop_token_ids=(*tiny_parts.stop_token_ids, 5))
    other = dataclasses.replace(tiny_parts, vocabulary=ends)
    assert fingerprints(other) | {"stop tokens": began["stop tokens"]} == began


def test_the_weights_of_a_loaded_policy_have_a_fingerprint(tiny, tiny_parts):
    config = dataclasses.replace(tiny, model=ModelSection(path="policy"))
    loaded = dataclasses.replace(tiny_parts, config=config)
    other = dataclasses.replace(loaded, params=assemble(dataclasses.replace(tiny, seed=1)).params)
    reordered, negated = (
        dataclasses.replace(loaded, params=jax.tree.map(change, loaded.params))
        for change in (lambda p: p[::-1], lambda p: -p)
    )
    found = [fingerprints(parts)["model.path"] for parts in (loaded, loaded, other, reordered, negated)]
    assert found[0] == found[1] and len(set(found)) == 4


@pytest.mark.parametrize("spec", ["my_reward.py:score", "my_package.rewards:score"])
def test_the_file_that_defines_a_reward_function_has_a_fingerprint(tiny, tiny_parts, tmp_path, monkeypatch, spec):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "rewards.py").write_text("from my_package.scores import score\n")
    for file in (tmp_path / "my_reward.py", tmp_path / "my_package" / "scores.py"):
        file.write_text("def score(data_source, solution_str, ground_truth, extra_info):\n    return 1.0\n")
    path = f"{tmp_path / spec}" if ".py:" in spec else spec
    config = dataclasses.replace(tiny, reward=RewardSection(function=path))
    parts = dataclasses.replace(
        tiny_parts, config=config, scorer=Scorer(config, tiny_parts.task, tiny_parts.tokenizer, tiny_parts.table)
    )
    began = fingerprints(parts)
    assert fingerprints(parts) == began
    defines = tmp_path / ("my_reward.py" if ".py:" in spec else "my_package/scores.py")
    defines.write_text(defines.read_text().replace("1.0", "0.0"))
    with pytest.raises(ValueError) as error:
        check_data(config, fingerprints(parts), record(config, "ppo", began))
    assert str(error.value).startswith(f"the contents of reward.function={path!r} have changed since the run started")
    assert "--allow-changed-data" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_a_run_with_changed_rows_continues_only_if_that_is_allowed(tiny, tmp_path):
    """First a row changes, then one is added; a refused run writes nothing."""
    file, folder = tmp_path / "problems.jsonl", tmp_path / "run"

    def write(num_rows: int, answer: int) -> None:
        rows = [{"question": f"{i}?", "answer": "#### 7"} for i in range(num_rows - 1)]
        rows.append({"question": "last?", "answer": f"#### {answer}"})
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def config(steps: int) -> RunConfig:
        return dataclasses.replace(
            tiny,
            data=dataclasses.replace(tiny.data, train=str(file), eval=str(file)),
            warm_start=dataclasses.replace(tiny.warm_start, steps=1),
            algorithm=AlgorithmSection(optimizer=OptimizerSection(warmup_steps=0, schedule="cosine")),
            trainer=TrainerSection(steps=steps),
        )

    write(8, 7)
    run(config(1), folder)
    saved = (folder / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"spans 2 updates of the policy in this run and would span 4"):
        run(config(2), folder, resume=True)
    for num_rows, answer in ((8, 8), (9, 7)):
        write(num_rows, answer)
        with pytest.raises(ValueError, match=r"contents of data.train='.*', data.eval='.*' have changed since"):
            run(config(2), folder, resume=True, allow_changed_schedule=True)
        assert (folder / "config.json").read_bytes() == saved
    run(config(2), folder, resume=True, allow_changed_schedule=True, allow_changed_data=True)
    assert [line["step"] for line in read_lines(folder / "metrics.jsonl") if line["stage"] == "ppo"] == [0, 1, 2]
    newest = newest_meta(folder)
    assert newest is not None and newest[0] == "ppo"
    assert newest[1]["planned_updates"] == {"policy": 4} and newest[1]["cursor"]["num_rows"] == 9
    run(config(2), folder, resume=True)
