# SPDX-License-Identifier: Apache-2.0
"""A group starts, or says in one line why it does not."""

import subprocess
import sys

import pytest

from ntl_jax.processes.start import joined

ALONE = """
from ntl_jax.processes.group import Group
from ntl_jax.processes.start import joined
try:
    with joined(Group("it", "127.0.0.1:1", 2, {number}), heartbeat_timeout_s=5, start_s=2):
        pass
except ValueError as error:
    raise SystemExit(f"error: {{error}}")
"""


@pytest.mark.processes
@pytest.mark.parametrize(("number", "message"), [(0, "not all have started within 2 s"), (1, "did not answer there")])
def test_a_process_that_stays_alone_says_what_is_missing(number, message):
    run = subprocess.run([sys.executable, "-c", ALONE.format(number=number)], capture_output=True, text=True)
    line = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1
    assert line.startswith("error: trainer.coordinator='127.0.0.1:1': ")
    assert message in line


def test_without_a_group_nothing_is_started():
    with joined(None, heartbeat_timeout_s=1) as watch:
        assert watch is None
