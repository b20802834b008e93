# SPDX-License-Identifier: Apache-2.0
"""Room for the pool is checked before anything starts, and what killed engines left is removed. Without Ray."""

import mmap
import socket
import time
import uuid

import pytest

from ntl_jax.rollout.pool.cluster import GIB, SHARED_MEMORY, SPARE_BYTES, StoreSize, cluster, remove_leftovers


def test_a_store_has_room_for_versions_and_trajectories_and_some_to_spare():
    assert StoreSize(3, 10**9, 10**8).num_bytes == 3 * 10**9 + 10**8 + SPARE_BYTES


def test_a_store_that_fits_exactly_is_allowed_and_one_byte_less_is_refused_with_the_arithmetic():
    size = StoreSize(6, 2 * GIB, GIB)
    size.check(size.num_bytes, "/dev/shm")
    with pytest.raises(ValueError) as error:
        size.check(size.num_bytes - 1, "/dev/shm")
    for part in (
        "needs 13.1 GiB: 6 versions of the weights (rollout.max_staleness + 2) x 2.0 GiB, and 1.0 GiB of trajectories",
        "/dev/shm has 13.1 GiB: lower rollout.max_staleness",
        "--shm-size",
    ):
        assert part in str(error.value)


def test_a_private_cluster_that_this_machines_shared_memory_cannot_hold_is_refused_before_it_starts():
    refused = pytest.raises(ValueError, match=r"object store needs 1,?000.* GiB.*/dev/shm has")
    with refused, cluster(None, StoreSize(1, 1000 * GIB, 0), num_cpus=1, gpus=()):
        pass


@pytest.fixture
def leave():
    """Makes files of shared memory with a name, and removes what is left of them."""
    paths = []

    def left(name: str):
        path = SHARED_MEMORY / f"{name}_{uuid.uuid4().hex}"
        path.write_bytes(bytes(4096))
        paths.append(path)
        return path

    yield left
    for path in paths:
        path.unlink(missing_ok=True)


def test_shared_memory_of_dead_engines_is_removed_and_what_a_process_has_mapped_stays(leave):
    dead, mapped, other = leave("vllm_dist"), leave("vllm_dist"), leave("something")
    with mapped.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
        remove_leftovers()
        assert not dead.exists() and mapped.exists() and other.exists()
    remove_leftovers()
    assert not mapped.exists() and other.exists()


def test_an_address_at_which_nobody_listens_is_refused_at_once():
    with socket.socket() as bound:  # which does not listen
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        began = time.monotonic()
        answer = pytest.raises(ValueError, match=rf"rollout\.pool\.address='{address}': no Ray cluster answers")
        with answer, cluster(address, StoreSize(2, 1, 1), num_cpus=1, gpus=()):
            pass
        assert time.monotonic() - began < 5
