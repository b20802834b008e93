# SPDX-License-Identifier: Apache-2.0
"""Starts a program in several processes that train together, with two CPU devices each, and waits for them."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
NUM_DEVICES = 2
TIMEOUT_S = 300


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def start(
    count: int, arguments: Sequence[str], own: Mapping[int, Sequence[str]] | None = None
) -> list[subprocess.Popen]:
    """Starts the processes.

    Args:
        count: how many; 1: a process that trains alone on as many devices as it has in a group.
        arguments: of Python.
        own: further arguments of some processes, by number.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(NUM_DEVICES), "PYTHONPATH": paths}
    if count > 1:
        environment |= {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(count)}
    return [
        subprocess.Popen(
            [sys.executable, *arguments, *(own or {}).get(number, ())],
            env=environment | ({"JAX_PROCESS_ID": str(number)} if count > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def wait(processes: Sequence[subprocess.Popen], timeout_s: float = TIMEOUT_S) -> list[Ended]:
    """Waits for all; those that have not ended in time are killed, with a TimeoutError that says what they said."""
    try:
        said = [process.communicate(timeout=timeout_s) for process in processes]
    except subprocess.TimeoutExpired as expired:
        for process in processes:
            process.send_signal(signal.SIGKILL)
        said = [process.communicate() for process in processes]
        raise TimeoutError(f"not ended after {timeout_s} s: {said}") from expired
    return [Ended(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def together(count: int, *arguments: str) -> list[Ended]:
    """Runs a program to its end, which all processes must reach.

    An all-reduce between CPU devices can get stuck, though rarely: then all is started once more, and a line says so.
    """
    try:
        ended = wait(start(count, arguments))
    except TimeoutError as stuck:
        print(f"started again: {stuck}")
        ended = wait(start(count, arguments))
    assert [process.code for process in ended] == [0] * count, ended
    return ended
