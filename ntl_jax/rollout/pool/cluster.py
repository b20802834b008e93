# SPDX-License-Identifier: Apache-2.0
"""The Ray cluster of a pool: a private one on this machine, or an existing one by address."""

import contextlib
import logging
import os
import pathlib
import shutil
import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import ray

from ntl_jax.rollout.pool.devices import VISIBLE

SHARED_MEMORY = pathlib.Path("/dev/shm")
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 would starve workers beside a busy trainer
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without GPUs sees what its environment says
}
"""Environment variables for Ray, unless the user has set them."""
CONNECT_S = 10.0
"""Longest time in which a running cluster takes a connection."""
SPARE_BYTES = 96 * 2**20
"""Room in the object store for Ray's own objects and for gaps between objects; Ray takes no store below 75 MiB."""
GIB = 2**30


class StoreSize(NamedTuple):
    """What an object store must hold.

    Args:
        num_versions: versions of the weights at a time, ``max_staleness`` + 2.
        version_bytes: size of one version.
        trajectory_bytes: size of the trajectories.
    """

    num_versions: int
    version_bytes: int
    trajectory_bytes: int

    @property
    def num_bytes(self) -> int:
        return self.num_versions * self.version_bytes + self.trajectory_bytes + SPARE_BYTES

    def check(self, available: int, where: str) -> None:
        """Raises unless it fits.

        Args:
            available: bytes that there are.
            where: what has them, for the message.

        Raises:
            ValueError: with the arithmetic.

        Example:
            >>> StoreSize(3, 2 * 2**30, 2**28).check(4 * 2**30, "/dev/shm")
            Traceback (most recent call last):
            ...
            ValueError: the pool's object store needs 6.3 GiB: 3 versions of the weights (rollout.max_staleness + 2) ...
        """
        if self.num_bytes > available:
            raise ValueError(
                f"the pool's object store needs {self.num_bytes / GIB:.1f} GiB: {self.num_versions} versions of the "
                f"weights (rollout.max_staleness + 2) x {self.version_bytes / GIB:.1f} GiB, and "
                f"{self.trajectory_bytes / GIB:.1f} GiB of trajectories; {where} has {available / GIB:.1f} GiB: lower "
                "rollout.max_staleness, set model.compute_dtype=bfloat16, or give it more (docker run --shm-size)"
            )


@contextlib.contextmanager
def cluster(address: str | None, size: StoreSize, num_cpus: int, gpus: Sequence[str]) -> Iterator[None]:
    """The Ray cluster at an address, or a private one, whose object store has room.

    Args:
        address: as ``ray.init`` takes it; None: a private cluster.
        size: what the object store must hold.
        num_cpus, gpus: what a private cluster hands out.

    Raises:
        ValueError: if no cluster answers, or its object store is too small.
    """
    if address is None:
        size.check(shutil.disk_usage(SHARED_MEMORY).free, str(SHARED_MEMORY))
        with _private_cluster(num_cpus, gpus, size.num_bytes):
            yield
        return
    with _existing_cluster(address):
        stores = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
        size.check(int(min(stores)), "the smallest object store of the cluster's nodes")
        yield


@contextlib.contextmanager
def _private_cluster(num_cpus: int, gpus: Sequence[str], object_store_bytes: int) -> Iterator[None]:
    """A Ray cluster of this process alone, which ends with it.

    Args:
        num_cpus: CPUs that Ray hands out; they need not exist.
        gpus: GPUs that Ray hands out.
        object_store_bytes: size of the object store.
    """
    remove_leftovers()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Ray's own processes die with the thread that starts them, so this must be one that lives as long as the run.
    with warnings.catch_warnings(), _visible(gpus):
        warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
        ray.init(
            address="local",
            num_cpus=num_cpus,
            num_gpus=len(gpus),
            include_dashboard=False,
            object_store_memory=object_store_bytes,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _visible(gpus: Sequence[str]) -> Iterator[None]:
    """Shows these GPUs alone to the processes that start in this context."""
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(gpus)
    try:
        yield
    finally:
        del os.environ[VISIBLE]
        if before is not None:
            os.environ[VISIBLE] = before


@contextlib.contextmanager
def _existing_cluster(address: str) -> Iterator[None]:
    """Joins a running Ray cluster, and leaves it.

    Raises:
        ValueError: if no cluster answers.
    """
    try:
        _check_listening(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"rollout.pool.address={address!r}: no Ray cluster answers ({error}): start one with 'ray start --head', "
            "give its address (HOST:6379, or ray://HOST:10001 from outside), set RAY_AUTH_MODE=token if it asks for a "
            "token, or leave the address out for a private cluster"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Raises an OSError or ValueError at once where nothing listens: Ray would try again for a minute."""
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), CONNECT_S).close()


def check_placement(demand: Mapping[str, float], num_workers: int) -> None:
    """Raises unless the cluster has room for all workers.

    Args:
        demand: resources of one worker.
        num_workers: number of workers.

    Raises:
        ValueError: naming what is short.
    """
    total = ray.cluster_resources()
    short = [
        f"{num_workers} x {amount:g} {name}, of which the cluster has {total.get(name, 0):g}"
        for name, amount in demand.items()
        if amount * num_workers > total.get(name, 0)
    ]
    if short:
        raise ValueError(
            f"the Ray cluster has no room for the pool's workers: they need {'; '.join(short)}. Lower "
            "rollout.pool.workers or what each needs, or add nodes"
        )


def remove_leftovers() -> None:
    """Removes shared memory of vLLM engines whose processes were killed; what a process has mapped stays."""
    left = [path for path in SHARED_MEMORY.glob("vllm_dist_*") if _is_ours(path)]
    if not left:
        return
    mapped = set()
    for maps in pathlib.Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            mapped |= {word for word in maps.read_text().split() if word.startswith(str(SHARED_MEMORY))}
    for path in left:
        if str(path) not in mapped:
            path.unlink(missing_ok=True)


def _is_ours(path: pathlib.Path) -> bool:
    """Whether this user made the file, which its process may remove at any time."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_uid == os.getuid()
    return False
