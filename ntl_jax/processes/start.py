# SPDX-License-Identifier: Apache-2.0
"""Starts training together with other processes, and ends it."""

import contextlib
import glob
import os
import socket
import traceback
from collections.abc import Iterator

import jax
from jax._src import distributed  # the client of the key-value store is nowhere else

from ntl_jax.ending import leave
from ntl_jax.processes.group import Group
from ntl_jax.processes.watch import GOODBYE_S, Watch, when_aborted

START_S = 300
"""Seconds that processes wait for each other to start."""
TELL_S = 60
"""Seconds that a process which cannot start waits for those to tell so."""


VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextlib.contextmanager
def joined(group: Group | None, *, heartbeat_timeout_s: float, start_s: int = START_S) -> Iterator[Watch | None]:
    """Within this context the processes of a group are one program on all their devices; None without a group.

    It must be entered before JAX uses a device. When one process fails, all end: `Watch`. An error that leaves the
    context ends this process and all others.

    Args:
        group: from `find_group`.
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
    watch = _start(group, heartbeat_timeout_s, start_s, f"error: {_not_started(group, start_s)}")
    try:
        _deal_gpus(group, watch)
    except ValueError as error:
        watch.fail(f"error: {error}")
    with _ending_all(watch):
        yield watch
        watch.wait_for_all()
    watch.stop()
    jax.distributed.shutdown()


def end_all(group: Group, message: str, *, code: int, start_s: int = TELL_S) -> None:
    """Tells the other processes why this one does not train with them, and ends it.

    Args:
        group: which they are.
        message: why.
        code: this process's exit code.
        start_s: how long it waits for them to start.
    """
    try:
        watch = _start(group, GOODBYE_S, start_s, message)
    except ValueError:
        return
    watch.fail(message, code=code)


def _start(group: Group, heartbeat_timeout_s: float, start_s: int, when_alone: str) -> Watch:
    """Starts JAX in all processes; raises a ValueError, or ends with a line, if they do not start together."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Its handler of SIGTERM would take the place of ours, which saves the step.
    jax.config.update("jax_enable_preemption_service", False)
    when_aborted(lambda: when_alone)
    try:
        jax.distributed.initialize(
            group.coordinator,
            group.num_processes,
            group.process_id,
            initialization_timeout=start_s,
            heartbeat_timeout_seconds=int(2 * heartbeat_timeout_s) + 10,  # the watch is faster, and says more
            shutdown_timeout_seconds=30,
            cluster_detection_method=None if group.coordinator is None else "deactivate",
        )
    except RuntimeError as error:
        raise ValueError(f"{_not_started(group, start_s)} ({_first_line(error)})") from error
    state = distributed.global_state
    assert state.client is not None
    return Watch(state.client, state.process_id, state.num_processes, heartbeat_timeout_s)


class _ending_all:
    """Ends all processes if an error leaves the context, with its traceback first."""

    def __init__(self, watch: Watch):
        self._watch = watch

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None:
            leave("".join(traceback.format_exception(error)), code=1)
            self._watch.fail(f"{type(error).__name__}: {error}", error=error)


def _deal_gpus(group: Group, watch: Watch) -> None:
    """Tells JAX, which has not looked yet, which of the GPUs that this process sees are its own."""
    machine = socket.gethostname()
    of_all = watch.of_all(f"{machine} {os.environ.get(VISIBLE, '')}")
    shown = [text.partition(" ")[2] for text in of_all if text.partition(" ")[0] == machine]
    own = group.local_devices(_num_gpus(), shown)
    if own is not None and "JAX_LOCAL_DEVICE_IDS" not in os.environ:
        for kind in ("cuda", "rocm"):
            jax.config.update(f"jax_{kind}_visible_devices", ",".join(map(str, own)))


def _num_gpus() -> int:
    """GPUs that this process sees, without a backend that would take them."""
    if (visible := os.environ.get(VISIBLE)) is not None:
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
