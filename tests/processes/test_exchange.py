# SPDX-License-Identifier: Apache-2.0
"""Processes have values alike, and errors of one of them."""

import pytest

from ntl_jax.processes.exchange import agreed, gather
from tests.processes.programs import __file__ as programs
from tests.processes.together import together


@pytest.mark.processes
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [2, 3])
def test_processes_exchange_values_and_errors(count):
    assert len(together(count, programs, "exchanges")) == count


def test_one_process_exchanges_nothing():
    value = object()
    assert gather(value)[0] is value
    assert agreed(lambda: value)[0] is value
