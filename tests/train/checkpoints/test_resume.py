# SPDX-License-Identifier: Apache-2.0
"""A resumed run must match the run that it continues."""

import dataclasses
import pathlib
import shutil

import jax
import pytest

from ntl_jax.config import AlgorithmSection, OptimizerSection, RewardSection, RunConfig, TrainerSection, stored_config
from ntl_jax.data import load_tokenizer
from ntl_jax.metrics import read_lines
from ntl_jax.train import run
from ntl_jax.train.checkpoints.checkpointer import newest_meta
from ntl_jax.train.checkpoints.resume import check_data, check_schedule, fingerprints, record


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


def found(setup, **changes) -> dict[str, str]:
    """The fingerprints of the tiny run, where some of policy, params, prompts and reward are others."""
    of_run = {"policy": setup.policy, "params": setup.initial, "prompts": setup.prompts, "reward": setup.scorer.reward}
    return fingerprints(**of_run | changes)


def test_checkpoints_without_a_record_are_not_compared(setup):
    assert check_schedule(with_optimizer(7, schedule="cosine"), "ppo", {"iteration": 3}) is None
    assert check_data(setup.config, found(setup), {"iteration": 3}) is None


@pytest.mark.parametrize(
    "fields",
    [{"text": "2+3?\n"}, {"ground_truth": "1234"}, {"extra_info": {"solution": "#### 1234"}}, {"data_source": "other"}],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize(("name", "setting"), [("train", "data.train"), ("held_out", "data.eval")])
def test_one_changed_row_changes_the_fingerprint(setup, name, setting, fields):
    *rows, last = getattr(setup.prompts, name)
    prompts = dataclasses.replace(setup.prompts, **{name: [*rows, dataclasses.replace(last, **fields)]})
    began, other = found(setup), found(setup, prompts=prompts)
    assert {key for key in began if began[key] != other[key]} == {setting}


def test_another_order_of_rows_changes_the_fingerprint(setup):
    prompts = dataclasses.replace(setup.prompts, train=setup.prompts.train[::-1])
    assert found(setup, prompts=prompts)["data.train"] != found(setup)["data.train"]


def test_files_of_templates_and_tasks_have_fingerprints_of_their_own(setup):
    one, other = (dataclasses.replace(setup.prompts, files={"data.task": text}) for text in ("a = 1", "a = 2"))
    began, now = found(setup, prompts=one), found(setup, prompts=other)
    assert {key for key in began if began[key] != now[key]} == {"data.task"}


def test_tokenizer_and_stop_tokens_have_separate_fingerprints(setup):
    tokenizer = load_tokenizer()
    tokenizer.add_tokens(["<new>"])
    began, name = found(setup), "data.tokenizer"
    assert found(setup, policy=dataclasses.replace(setup.policy, tokenizer=tokenizer))[name] != began[name]
    vocabulary = setup.policy.vocabulary
    ends = dataclasses.replace(vocabulary, stop_token_ids=(*vocabulary.stop_token_ids, 5))
    other = found(setup, policy=dataclasses.replace(setup.policy, vocabulary=ends))
    assert other != began and other | {"stop tokens": began["stop tokens"]} == began


def test_the_weights_of_a_loaded_policy_have_a_fingerprint(setup):
    """Other values, another order and other signs are found; the tiny policy is from scratch and has none."""
    loaded = dataclasses.replace(setup.policy, checkpoint=pathlib.Path("policy"))
    changes = (lambda p: p, lambda p: p, lambda p: p + 1e-6, lambda p: p[::-1], lambda p: -p)
    weights = [jax.tree.map(change, setup.initial) for change in changes]
    hashes = [found(setup, policy=loaded, params=params)["model.path"] for params in weights]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 4 and "model.path" not in found(setup)


@pytest.mark.parametrize("spec", ["my_reward.py:score", "my_package.rewards:score"])
def test_the_file_that_defines_a_reward_function_has_a_fingerprint(setup, tmp_path, monkeypatch, spec):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "rewards.py").write_text("from my_package.scores import score\n")
    for file in (tmp_path / "my_reward.py", tmp_path / "my_package" / "scores.py"):
        file.write_text("def score(data_source, solution_str, ground_truth, extra_info):\n    return 1.0\n")
    path = f"{tmp_path / spec}" if ".py:" in spec else spec
    changed = setup.changed(reward=RewardSection(function=path))
    began = found(changed)
    assert found(changed) == began
    defines = tmp_path / ("my_reward.py" if ".py:" in spec else "my_package/scores.py")
    defines.write_text(defines.read_text().replace("1.0", "0.0"))
    with pytest.raises(ValueError) as error:
        check_data(changed.config, found(changed), record(changed.config, "ppo", began))
    assert str(error.value).startswith(f"the contents of reward.function={path!r} have changed since the run started")
    assert "--allow-changed-data" in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def own_run(finished, tmp_path):
    """A copy of the finished run with inputs of its own, its configuration, and its file of problems."""
    inputs, folder = tmp_path / "inputs", tmp_path / "run"
    shutil.copytree(finished.inputs, inputs)
    shutil.copytree(finished.folder, folder)
    moved = (folder / "config.json").read_text().replace(str(finished.inputs), str(inputs))
    (folder / "config.json").write_text(moved)
    return folder, stored_config(folder), inputs / "problems.jsonl"


def test_a_run_with_changed_rows_is_refused_and_writes_nothing_unless_that_is_allowed(own_run):
    """First a row changes, then one is added. The run goes on with as many rows as there are then."""
    folder, config, problems = own_run
    more = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, steps=5, eval_every=5))
    rows, saved = problems.read_text().splitlines(), (folder / "config.json").read_bytes()
    for changed in ([rows[0].replace("$20", "$21"), *rows[1:]], [*rows[::-1], rows[0]]):
        problems.write_text("\n".join(changed) + "\n")
        with pytest.raises(ValueError, match=r"contents of data.train='.*' have changed since"):
            run(more, folder, resume=True)
        assert (folder / "config.json").read_bytes() == saved
    run(more, folder, resume=True, allow_changed_data=True)
    ppo = [line["step"] for line in read_lines(folder / "metrics.jsonl") if line["stage"] == "ppo"]
    newest = newest_meta(folder)
    assert ppo == [0, 1, 2, 3, 4, 5] and newest is not None and newest[0] == "ppo"
    assert newest[1]["planned_updates"] == {"policy": 10} and newest[1]["cursor"]["num_rows"] == 11
    assert check_data(more, newest[1]["fingerprints"], newest[1]) is None


def test_a_schedule_that_would_stretch_is_refused_before_anything_is_loaded(own_run):
    folder, config, problems = own_run
    problems.unlink()
    optimizer = dataclasses.replace(config.algorithm.optimizer, schedule="cosine")
    changed = dataclasses.replace(
        config,
        algorithm=dataclasses.replace(config.algorithm, optimizer=optimizer),
        trainer=dataclasses.replace(config.trainer, steps=8),
    )
    with pytest.raises(ValueError, match=r"spans 8 updates of the policy in this run and would span 16"):
        run(changed, folder, resume=True)
    with pytest.raises(ValueError, match=r"problems\.jsonl' does not exist"):
        run(changed, folder, resume=True, allow_changed_schedule=True)
