# SPDX-License-Identifier: Apache-2.0
"""The configuration: defaults that hold, every problem reported at once, nothing lost on the way through JSON."""

import dataclasses
import json

import pytest

from launch.train import _flatten, _from_json, load_config
from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    ModelSection,
    NTLSection,
    OptimizerSection,
    RolloutSection,
    RunConfig,
    WarmStartSection,
)


def with_setting(path, value):
    """The defaults with one setting changed, whatever it is changed to."""
    values = dataclasses.asdict(RunConfig())
    *sections, name = path.split(".")
    section = values
    for step in sections:
        section = section[step]
    section[name] = value
    return _from_json(values, RunConfig)


def problem_lines(config):
    with pytest.raises(ValueError, match=r"problems? in the configuration") as error:
        config.validate()
    return str(error.value).splitlines()[1:]


@pytest.mark.parametrize("config", [RunConfig(), load_config("gsm8k_ntl")], ids=["defaults", "gsm8k_ntl"])
def test_the_configurations_that_come_with_the_package_are_valid(config):
    config.validate()
    assert config.trainer.steps > 0


def test_every_problem_is_reported_at_once_with_name_value_and_what_is_allowed():
    config = RunConfig(
        seed=-1,
        model=ModelSection(num_heads=3, head_dim=5, mesh=(-1, -1, 1)),
        data=DataSection(train="train.jsonl", tiers=(0, 5), template="no question"),
        warm_start=WarmStartSection(optimizer=OptimizerSection(learning_rate=0.0)),
        rollout=RolloutSection(num_samples=1, prompts_per_step=3),
        ntl=NTLSection(enabled=False),
        use_ntl_trainer=True,
    )
    lines = "\n".join(problem_lines(config))
    for given in (
        "seed=-1", "model.num_heads=3", "num_kv_heads=2", "model.head_dim=5", "model.mesh=(-1, -1, 1)", "data.eval",
        "data.tiers=(0, 5)", "data.template", "warm_start.optimizer.learning_rate=0.0", "rollout.num_samples=1",
        "algorithm.minibatches=2: must divide the 3 samples", "use_ntl_trainer=True",
    ):  # fmt: skip
        assert given in lines
    assert len(lines.splitlines()) == 11


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_finite_number_is_a_problem(value):
    assert len(problem_lines(RunConfig(ntl=NTLSection(weight=value)))) == 1


@pytest.mark.parametrize("path", [path for path, value in _flatten(RunConfig()).items() if type(value) in (int, float)])
def test_no_number_may_be_negative(path):
    assert problem_lines(with_setting(path, -1))[0].strip().startswith(f"{path}=-1: ")


def test_a_critic_needs_no_group_of_samples():
    config = RunConfig(rollout=RolloutSection(num_samples=1), algorithm=AlgorithmSection(advantage="gae"))
    config.validate()
    assert "rollout.num_samples=1" in problem_lines(RunConfig(rollout=RolloutSection(num_samples=1)))[0]


def test_a_configuration_survives_the_trip_through_json():
    config = RunConfig(
        name="é",
        use_ntl_trainer=True,
        model=ModelSection(mesh=(2, 2, 2)),
        data=DataSection(tiers=(1, 2, 3)),
        algorithm=AlgorithmSection(optimizer=OptimizerSection(learning_rate=0.1 + 0.2)),
    )
    assert _from_json(json.loads(json.dumps(dataclasses.asdict(config))), RunConfig) == config


def test_a_configuration_cannot_be_changed_behind_the_runs_back():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().seed = 3  # pyright: ignore[reportAttributeAccessIssue]
