# SPDX-License-Identifier: Apache-2.0
"""The mesh of the devices that train."""

import jax
import pytest

from ntl_jax.config import ModelSection, RunConfig, TrainerSection
from ntl_jax.update.devices import training_mesh


def test_all_devices_train_unless_the_settings_choose_some():
    assert training_mesh(RunConfig()).size == len(jax.devices()) == 8
    chosen = training_mesh(RunConfig(trainer=TrainerSection(devices=(5, 2)), model=ModelSection(mesh=(1, 2, 1))))
    assert [device.id for device in chosen.devices.flat] == [5, 2]


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="this machine has 8 devices, with indices from 0 to 7"):
        training_mesh(RunConfig(trainer=TrainerSection(devices=(0, 8))))
