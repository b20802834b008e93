# SPDX-License-Identifier: Apache-2.0
"""Processes that train together go on from the same checkpoint, whatever one of them cannot read."""

import pytest

from tests.processes.programs import __file__ as programs
from tests.processes.together import together

pytestmark = [pytest.mark.processes, pytest.mark.timeout(700)]


def test_what_one_process_cannot_read_no_process_goes_on_from(tmp_path):
    ended = together(2, programs, "restores", str(tmp_path / "run"), str(tmp_path / "own"))
    outputs = [process.out.strip().splitlines()[-1] for process in ended]
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith(f"1 {tmp_path / 'run'}/checkpoints/ppo/2 is damaged: state cannot be read (")
    assert outputs[0].endswith("the one after step 1 of ppo is used; the damaged one is renamed to 2.damaged")
    assert {path.name for path in (tmp_path / "run" / "checkpoints" / "ppo").iterdir()} == {"1", "2", "2.damaged"}
