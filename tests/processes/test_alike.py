# SPDX-License-Identifier: Apache-2.0
"""Processes with different settings or data do not train together."""

import pytest

from tests.processes.programs import __file__ as programs
from tests.processes.together import together


@pytest.mark.processes
@pytest.mark.timeout(900)
def test_other_settings_and_other_data_are_refused_in_all_processes_in_one_line():
    for process in together(2, programs, "differ"):
        settings, data = [line for line in process.out.splitlines() if line.startswith("process")]
        assert settings.startswith("process 2 of 2 has other settings than the first: seed=1 (not 0): start all")
        assert data.startswith("process 2 of 2 reads other contents of data.eval than the first: give all of them")
