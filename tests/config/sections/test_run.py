# SPDX-License-Identifier: Apache-2.0
"""The configuration: defaults that hold and settings that stay as they are."""

import dataclasses

import pytest

from ntl_jax.config import RunConfig
from ntl_jax.config_files import load_config


@pytest.mark.parametrize("config", [RunConfig(), load_config("gsm8k_ntl")], ids=["defaults", "gsm8k_ntl"])
def test_the_configurations_that_come_with_the_package_are_valid(config):
    config.validate()
    assert config.trainer.steps > 0


def test_a_configuration_cannot_be_changed_behind_the_runs_back():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().seed = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_one_problem_is_not_called_several():
    with pytest.raises(ValueError, match=r"^1 problem in the configuration:\n  seed=-1: "):
        RunConfig(seed=-1).validate()
