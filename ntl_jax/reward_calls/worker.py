# SPDX-License-Identifier: Apache-2.0
"""A worker that makes the calls of a reward function, seen from the trainer: a process, or a thread."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from ntl_jax.reward_calls.service import Loaded, Numbered, Order, serve

START_S = 30.0
"""Longest time that a process may need to start, before it imports the function."""


class Worker:
    """A connection to something that makes calls, with the calls that it has."""

    output: int | None = None
    """Descriptor of what the calls print, where that does not appear by itself; None also once it is closed."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self.calls: dict[int, Mapping[str, object]] = {}
        """By number, in the order in which they were sent."""
        self.heard = time.monotonic()
        """When the oldest call was sent, or the last answer came; in the future while it starts."""
        self._messages: queue.SimpleQueue[object] = queue.SimpleQueue()
        threading.Thread(target=self._send, name="to a reward worker", daemon=True).start()

    def send(self, calls: Sequence[Numbered]) -> None:
        """Has calls sent. It does not wait: a worker that hangs does not read."""
        if not self.calls:
            self.heard = max(self.heard, time.monotonic())
        self.calls |= dict(calls)
        self._messages.put(calls)

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # the worker has ended, which is noticed elsewhere
            while (message := self._messages.get()) is not None:
                self.connection.send(message)

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended."""
        return False

    def show(self) -> None:
        """Prints what has come of the output."""
        assert self.output is not None
        if text := os.read(self.output, 1 << 16):
            sys.stdout.write(text.decode(errors="replace"))
        else:
            self.output = None

    def end(self) -> str:
        """Ends it; returns how."""
        self._messages.put(None)
        self.connection.close()
        return "left behind"


class ThreadWorker(Worker):
    """A daemon thread. It cannot be ended: it is left behind, and makes no further calls."""

    def __init__(self, function: Callable[..., object], timeout_s: float):
        ours, theirs = Pipe()
        self._left = threading.Event()
        arguments = (function, theirs, timeout_s, self._left)
        threading.Thread(target=serve, args=arguments, name="reward", daemon=True).start()
        super().__init__(ours)

    def end(self) -> str:
        self._left.set()
        return super().end()


class ProcessWorker(Worker):
    """A process, which is killed together with those that it has started."""

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
        os.set_blocking(self.output, False)
        self.heard += START_S
        self._messages.put(order)

    def load(self, timeout_s: float) -> Loaded:
        """Waits until the function is loaded.

        Raises:
            ValueError: if it cannot be.
        """
        deadline, message = self.heard + timeout_s, None
        while not self.connection.poll() and not self.has_ended and time.monotonic() < deadline:
            if self.output in wait([self.connection, *([] if self.output is None else [self.output])], 0.2):
                self.show()
        is_silent = not self.connection.poll() and not self.has_ended
        with contextlib.suppress(EOFError, OSError):
            message = None if is_silent else self.connection.recv()
        if isinstance(message, Loaded):
            self.heard = time.monotonic()
            return message
        how = self.end()
        if isinstance(message, ValueError):
            raise message
        what = "importing it takes longer than reward.timeout_s allows: import less, or raise it"
        what = what if is_silent else f"importing it ends the process: {how}"
        raise ValueError(f"reward.function={self._order.spec!r}: {what}")

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that has closed the connection may need a moment
            self._process.wait(0.1 if self.connection.poll() else 0)
        code = self._process.poll()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(BlockingIOError):  # a process that left the group may still hold the output open
            while self.output is not None:
                self.show()
        self.output = None
        assert self._process.stdout is not None
        self._process.stdout.close()
        super().end()
        return "killed" if code is None else f"exit code {code}"
