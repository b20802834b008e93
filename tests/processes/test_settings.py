# SPDX-License-Identifier: Apache-2.0
"""The group that a command names, also where its command line is wrong."""

import pytest

from ntl_jax.config import TrainerSection
from ntl_jax.processes.settings import group_in, group_of

GIVEN = ["--config.trainer.coordinator=a:1", "--config.trainer.num_processes", "2", "--config.trainer.process_id=1"]


def test_settings_of_the_trainer_name_a_group():
    group = group_of(TrainerSection(coordinator="a:1", num_processes=2, process_id=1))
    assert group is not None
    assert group == group_in(GIVEN)


def test_settings_of_the_trainer_that_name_half_a_group_are_refused():
    with pytest.raises(ValueError, match=r"needs trainer\.coordinator"):
        group_of(TrainerSection(num_processes=2, process_id=1))


@pytest.mark.parametrize(
    "argv", [[], ["--config.trainer.process_id=x"], GIVEN[:2], [*GIVEN, "--config.trainer.distributed=off"]]
)
def test_a_command_line_that_names_no_whole_group_names_none(argv):
    assert group_in(argv) is None
