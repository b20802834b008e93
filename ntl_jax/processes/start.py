# SPDX-License-Identifier: Apache-2.0
"""Starts training together with other processes, and ends it."""

import contextlib
import glob
import importlib.util
import os
import socket
import traceback
from collections.abc import Iterator

import jax
from jax._src import distributed  # the client of the key-value store is nowhere else

from ntl_jax.config import TrainerSection
from ntl_jax.ending import leave
from ntl_jax.process_group import Group, find_group
from ntl_jax.processes.watch import Watch, when_aborted

START_S = 300
"""Seconds that processes wait for each other to start."""


def group_of(trainer: TrainerSection) -> Group | None:
    """The group that this process belongs to by its settings and environment; None: it trains alone.

    Args:
        trainer: the section of the configuration.

    Raises:
        ValueError: as `find_group`.

    Example:
        >>> group_of(TrainerSection(distributed="off")) is None
        True
    """
    return find_group(
        trainer.distributed,
        os.environ,
        coordinator=trainer.coordinator,
        num_processes=trainer.num_processes,
        process_id=trainer.process_id,
        on_tpu=importlib.util.find_spec("libtpu") is not None and bool(glob.glob("/dev/accel*")),
    )


@contextlib.contextmanager
def joined(group: Group | None, *, heartbeat_timeout_s: float, start_s: int = START_S) -> Iterator[Watch | None]:
    """Within this context the processes of a group are one program on all their devices; None without a group.

    It must be entered before JAX uses a device. When one process fails, all end: `Watch`. An error that leaves the
    context ends this process and all others.

    Args:
        group: from `group_of`.
        heartbeat_timeout_s: after so many seconds without a sign of life a process counts as dead.
        start_s: how long the processes wait for each other to start.

    Raises:
        ValueError: if the others do not start in time, or the coordinator's address cannot be used.

    Example:
        >>> with joined(None, heartbeat_timeout_s=30) as watch:
        ...     print(watch)
        None
    """
    if group is None:
        yield None
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Its handler of SIGTERM would take the place of ours, which saves the step.
    jax.config.update("jax_enable_preemption_service", False)
    when_aborted(lambda: f"error: {_not_started(group, start_s)}")
    try:
        jax.distributed.initialize(
            group.coordinator,
            group.num_processes,
            group.process_id,
            local_device_ids=group.local_devices(_num_gpus()),
            initialization_timeout=start_s,
            heartbeat_timeout_seconds=int(2 * heartbeat_timeout_s) + 10,  # the watch is faster, and says more
            shutdown_timeout_seconds=30,
            cluster_detection_method=None if group.coordinator is None else "deactivate",
        )
    except RuntimeError as error:
        raise ValueError(f"{_not_started(group, start_s)} ({_first_line(error)})") from error
    state = distributed.global_state
    assert state.client is not None
    watch = Watch(state.client, state.process_id, state.num_processes, heartbeat_timeout_s)
    with _ending_all(watch):
        yield watch
    state.client.wait_at_barrier("ntl_jax/end", int(1000 * START_S))
    watch.stop()
    jax.distributed.shutdown()


class _ending_all:
    """Ends all processes if an error leaves the context, with its traceback first."""

    def __init__(self, watch: Watch):
        self._watch = watch

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None:
            leave("".join(traceback.format_exception(error)), code=1)
            self._watch.fail(f"{type(error).__name__}: {error}")


def _num_gpus() -> int:
    """GPUs that this process sees, without a backend that would take them."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return len([name for name in visible.split(",") if name.strip()])
    return len(glob.glob("/dev/nvidia[0-9]*"))


def _not_started(group: Group, start_s: int) -> str:
    if group.coordinator is None:
        return "JAX finds no other processes on this machine: set trainer.distributed=off"
    where = f"trainer.coordinator={group.coordinator!r}"
    if group.process_id:
        return f"{where}: the first process did not answer there within {start_s} s: start it, and give its address"
    return (
        f"{where}: of {group.num_processes} processes, not all have started within {start_s} s, or "
        f"{socket.gethostname()} cannot use this address: start all of them, with this address and different "
        "trainer.process_id, or give a free port"
    )


def _first_line(error: RuntimeError) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
