# SPDX-License-Identifier: Apache-2.0
"""A worker that makes the calls of a reward function, seen from the trainer: a process, or a thread."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ntl_jax.reward_calls.service import Loaded, Numbered, Order, serve

START_S = 30.0
"""Longest time that a process may need to start, before it imports the function."""


class Worker:
    """A connection to something that makes calls, with the calls that it has."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self.calls: dict[int, Mapping[str, object]] = {}
        """By number, in the order in which they were sent."""
        self.heard = time.monotonic()
        """When the oldest call was sent, or the last answer came; in the future while it starts."""

    output: int | None = None
    """Descriptor of what the calls print, where that does not appear by itself; None also once it is closed."""

    def show(self) -> None:
        """Prints what has come of the output."""
        assert self.output is not None
        if text := os.read(self.output, 1 << 16):
            sys.stdout.write(text.decode(errors="replace"))
        else:
            self.output = None

    def send(self, calls: Sequence[Numbered]) -> None:
        """Sends calls."""
        if not self.calls:
            self.heard = max(self.heard, time.monotonic())
        self.calls |= dict(calls)
        self.connection.send(calls)

    def end(self) -> str:
        """Ends it, or leaves it behind; returns how."""
        self.connection.close()
        return "a thread, which goes on in vain"


class ProcessWorker(Worker):
    """A process."""

    def __init__(self, order: Order):
        self._order = order
        ours, theirs = Pipe()
        descriptor = theirs.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from ntl_jax.reward_calls.service import main; main({descriptor})"],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # JAX must not take the accelerator's memory a second time; the process must find this package.
            env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            process_group=0,
        )
        theirs.close()
        super().__init__(ours)
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        self.heard += START_S
        ours.send(order)

    def load(self, timeout_s: float) -> Loaded:
        """Waits until the function is loaded.

        Raises:
            ValueError: if it cannot be.
        """
        spec = self._order.spec
        silent = not self.connection.poll(timeout_s + START_S)
        try:
            message = None if silent else self.connection.recv()
        except EOFError:
            message = None
        if isinstance(message, Loaded):
            self.heard = time.monotonic()
            return message
        how = self.end()
        if isinstance(message, ValueError):
            raise message
        what = f"importing it takes longer than {timeout_s:g} s" if silent else f"importing it ends the process: {how}"
        raise ValueError(f"reward.function={spec!r}: {what}")

    def end(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that closed the connection may need a moment
            self._process.wait(0.1 if self.connection.poll() else 0)
        code = self._process.poll()
        self._process.kill()
        self._process.communicate()
        self.connection.close()
        return "killed" if code is None else f"exit code {code}"


class ThreadWorker(Worker):
    """A daemon thread."""

    def __init__(self, function: Callable[..., object], timeout_s: float):
        ours, theirs = Pipe()

        def run() -> None:
            with contextlib.suppress(OSError):  # the other end is closed where this thread was left behind
                serve(function, theirs, timeout_s)

        threading.Thread(target=run, name="reward", daemon=True).start()
        super().__init__(ours)
