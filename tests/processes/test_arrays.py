# SPDX-License-Identifier: Apache-2.0
"""Arrays over the devices of several processes are placed, fetched, and copied to the devices of each."""

import jax
import numpy as np
import pytest

from ntl_jax.models import batch_sharding, make_mesh
from ntl_jax.processes.arrays import host_or_here, local_mesh, place
from tests.processes.programs import __file__ as programs
from tests.processes.together import together


@pytest.mark.processes
@pytest.mark.timeout(900)
def test_arrays_lie_with_two_processes_and_come_back_whole():
    assert len(together(2, programs, "arrays")) == 2


def test_one_process_has_everything_here():
    mesh = make_mesh((2, 1, 1), jax.devices()[:2])
    placed = place(np.arange(4), batch_sharding(mesh))
    assert host_or_here(placed) is placed
    assert local_mesh(mesh) is mesh
