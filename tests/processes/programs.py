# SPDX-License-Identifier: Apache-2.0
"""What the tests run in several processes: python tests/processes/programs.py NAME ARGUMENTS."""

import os
import signal
import sys
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ntl_jax.models import make_mesh
from ntl_jax.process_group import find_group
from ntl_jax.processes.arrays import fetch, host_or_here, local_copy, local_mesh, place
from ntl_jax.processes.exchange import agreed, barrier, first_does, from_first, gather, num_processes, process_id
from ntl_jax.processes.start import joined
from ntl_jax.processes.watch import Watch


def exchanges(watch: Watch | None) -> None:
    """Values of any length, an error of one process, what the first alone does."""
    number, count = process_id(), num_processes()
    assert gather((number, b"x" * 3000 * number)) == [(i, b"x" * 3000 * i) for i in range(count)]
    assert gather("short") == ["short"] * count
    assert from_first(number) == 0
    assert agreed(lambda: number) == list(range(count))

    def fails_in_the_last() -> None:
        if number == count - 1:
            raise OSError(28, "no space")

    for _ in range(2):  # afterwards they go on together
        try:
            agreed(fails_in_the_last)
        except OSError as error:
            assert error.errno == 28
        else:
            raise AssertionError(number)
    assert first_does(lambda: number) == 0
    barrier()


def arrays(watch: Watch | None) -> None:
    """Arrays are placed, fetched and copied to the devices of each process, in every kind of mesh."""
    x = np.arange(64.0, dtype=np.float32).reshape(8, 8)
    for shape in ((-1, 1, 1), (1, -1, 1), (1, -1, 2), (1, 2, -1)):
        mesh = make_mesh(shape)
        local = local_mesh(mesh)
        for spec in (P(), P("fsdp"), P("fsdp", "tensor"), P(("data", "fsdp"))):
            placed: Any = place(x, NamedSharding(mesh, spec))
            np.testing.assert_array_equal(fetch(placed), x)
            np.testing.assert_array_equal(host_or_here(placed), x)
            copied = local_copy(placed, NamedSharding(local, spec))
            assert copied.is_fully_addressable
            np.testing.assert_array_equal(np.asarray(copied), x)
            if placed.is_fully_replicated and copied.is_fully_replicated:  # in the same memory
                parts = [{s.data.unsafe_buffer_pointer() for s in a.addressable_shards} for a in (copied, placed)]
                assert parts[0] == parts[1]


def ends(watch: Watch | None, how: str, number: str) -> None:
    """One process ends while the others wait for it."""
    assert watch is not None
    barrier()
    if process_id() == int(number):
        match how:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "fails":
                watch.fail("error: no luck", code=3)
            case "raises":
                raise KeyError("what")
    try:
        barrier()
    except RuntimeError as error:
        watch.fail(str(error))


if __name__ == "__main__":
    group = find_group("auto", os.environ)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    with joined(group, heartbeat_timeout_s=5) as watch:
        {"exchanges": exchanges, "arrays": arrays, "ends": ends}[sys.argv[1]](watch, *sys.argv[2:])
