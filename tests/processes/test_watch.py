# SPDX-License-Identifier: Apache-2.0
"""When one process ends, all do, and the last line on each console says why."""

import time

import pytest

from tests.processes.programs import __file__ as programs
from tests.processes.together import start, wait

DEAD = "process {} of 2: has ended without a word, or hangs"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("how", "number", "line", "code"),
    [
        ("fails", 0, "process 1 of 2: error: no luck", 3),
        ("fails", 1, "process 2 of 2: error: no luck", 3),
        ("raises", 1, "process 2 of 2: KeyError: 'what'", 1),
        ("killed", 0, DEAD.format(1), -9),
        ("killed", 1, DEAD.format(2), -9),
    ],
)
def test_all_processes_end_with_the_message_of_the_first_that_fails(how, number, line, code):
    began = time.monotonic()
    ended = wait(start(2, [programs, "ends", how, str(number)]))
    assert ended[number].code == code
    assert ended[1 - number].code == 1
    told = [process for process in ended if process.code != -9]
    assert all(process.err.strip().splitlines()[-1].startswith(line) for process in told), ended
    assert time.monotonic() - began < 60
