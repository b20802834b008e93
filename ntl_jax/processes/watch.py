# SPDX-License-Identifier: Apache-2.0
"""How processes that train together end together, when one of them fails or dies.

A process that waits for another in a collective operation waits for ever, in native code. So each has a thread that
raises a counter and reads those of the others, and the message of the first that fails, from the key-value store of
JAX's coordination service. The thread ends its process, with that message as the last line.

The service is in the first process. If that dies, JAX's client aborts the process at once; a handler of SIGABRT, which
Python's own would come too late for, has the last word.
"""

import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

import jax

from ntl_jax.ending import tell

FAILURE, ALIVE, READ, TEXT = "ntl_jax/failure", "ntl_jax/alive/", "ntl_jax/read/", "ntl_jax/text"
"""Keys: the message of the first failure; by process, its counter, and that it has read the message; a text."""
GIVEN = "ntl_jax_given/"
"""Key, by process: a text of each."""
END_S = 3600
"""Seconds that processes wait for the one that still writes its report."""
GRACE_S = 2.0
"""Seconds that a process may take to end by itself when another one has failed."""
GOODBYE_S = 5.0
"""Seconds that the process with the service stays for others to read the message."""
LOST = re.compile(r"gloo|nccl|connection|socket|unavailable|peer|deadline|coordination|cancell|abort", re.IGNORECASE)
"""Words of JAX's errors that may only follow from the end of another process."""

_handlers: list[object] = []


class Store(Protocol):
    """What is used of JAX's client; it raises a RuntimeError if the service is gone, or has no such key."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None: ...

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...

    def wait_at_barrier(self, barrier_id: str, timeout_in_ms: int) -> None: ...

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str: ...


def when_aborted(line: Callable[[], str]) -> None:
    """From now on JAX's client, which aborts the process when the coordination service fails, has not the last word.

    Args:
        line: says what the process prints then, before it ends with exit code 1.
    """

    def end(_: int) -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"\n{line()}\n".encode())
        os._exit(1)

    _handlers.append(ctypes.CFUNCTYPE(None, ctypes.c_int)(end))  # which must stay alive
    ctypes.CDLL(None).signal(signal.SIGABRT, _handlers[-1])


def may_follow(error: BaseException | None) -> bool:
    """Whether an error may only follow from the end of another process, which says why.

    Example:
        >>> may_follow(jax.errors.JaxRuntimeError("Gloo: connection closed by peer")), may_follow(ValueError("closed"))
        (True, False)
    """
    return isinstance(error, jax.errors.JaxRuntimeError) and bool(LOST.search(str(error)))


class Watch:
    """Watches over the processes of a group from a thread, until it is stopped.

    Args:
        store: JAX's client of the coordination service.
        number: of this process, from 0.
        count: of all processes.
        timeout_s: after so many seconds without a sign of life a process counts as dead.
    """

    def __init__(self, store: Store, number: int, count: int, timeout_s: float):
        self._store, self._number, self._count, self._timeout_s = store, number, count, timeout_s
        self._cause: str | None = None
        self._num_alive = count
        self._once, self._stopped = threading.RLock(), threading.Event()
        self._period = min(1.0, timeout_s / 10)
        self._thread = threading.Thread(target=self._run, daemon=True)
        when_aborted(lambda: self._cause or self._dead([0]))
        self._thread.start()

    def from_first(self, text: str) -> str:
        """What the first process gives here, once: a text that all need before the first program runs."""
        if self._number == 0:
            self._store.key_value_set(TEXT, text)
        return self._store.blocking_key_value_get(TEXT, 1000 * END_S)

    def of_all(self, text: str) -> list[str]:
        """What each process gives here, once, before the first program runs."""
        self._store.key_value_set(f"{GIVEN}{self._number}", text)
        return [self._store.blocking_key_value_get(f"{GIVEN}{i}", 1000 * END_S) for i in range(self._count)]

    def wait_for_all(self) -> None:
        """Until all processes are here; while one is still busy, the others watch over it."""
        self._store.wait_at_barrier("ntl_jax/end", 1000 * END_S)

    def stop(self) -> None:
        """Ends the thread: from now on other processes may end."""
        self._stopped.set()
        self._thread.join()
        signal.signal(signal.SIGABRT, signal.SIG_DFL)

    def fail(self, message: str, *, code: int = 1, error: BaseException | None = None) -> None:
        """Tells the others, and ends the process; the last line is the message of the first process that failed.

        Args:
            message: why this process cannot go on.
            code: its exit code.
            error: of JAX. Where it may only follow from the end of another process, which is about to say why or is
                dead, this process waits for that.
        """
        if may_follow(error):
            self._stopped.wait(self._timeout_s + 5 * self._period)  # the thread ends the process
        with self._once:
            self._end(self._published(f"{self._name(self._number)}: {message}"), code)

    def _run(self) -> None:
        heard: dict[int, tuple[str, float]] = dict.fromkeys(range(self._count), ("", time.monotonic()))
        for beat in range(sys.maxsize):
            try:
                self._store.key_value_set(f"{ALIVE}{self._number}", str(beat), allow_overwrite=True)
                entries = dict(self._store.key_value_dir_get("ntl_jax/"))
            except RuntimeError:
                entries = {}
                if self._stopped.is_set():
                    return
            now = time.monotonic()
            for number, (last, since) in heard.items():
                found = entries.get(f"{ALIVE}{number}", last)
                heard[number] = (last, since) if found == last else (found, now)
            silent = [number for number, (_, since) in heard.items() if now - since > self._timeout_s]
            self._cause, self._num_alive = entries.get(FAILURE, self._cause), self._count - len(silent)
            # An error that all processes have may be about to end this one too, which leaves less behind.
            if self._stopped.wait(GRACE_S if self._cause else 0 if silent else self._period):
                return
            if self._cause or silent:
                with self._once:
                    self._end(self._cause or self._published(self._dead(silent)))

    def _published(self, line: str) -> str:
        """The message of the first process that failed: this one, if no other was faster."""
        try:
            self._store.key_value_set(FAILURE, line)
        except RuntimeError:  # another was faster, or the service is gone
            with contextlib.suppress(RuntimeError):
                return self._store.blocking_key_value_get(FAILURE, 1000)
        return line

    def _end(self, line: str, code: int = 1) -> None:
        """Ends the process, with this as its last line."""
        self._cause = line
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        tell(line)
        with contextlib.suppress(RuntimeError):
            self._store.key_value_set(f"{READ}{self._number}", "", allow_overwrite=True)
            until = time.monotonic() + GOODBYE_S
            while self._number == 0 and time.monotonic() < until:
                if len(self._store.key_value_dir_get(READ)) >= self._num_alive:
                    break
                time.sleep(0.1)
        os._exit(code)

    def _dead(self, numbers: list[int]) -> str:
        names = " and ".join(self._name(number) for number in numbers if number != self._number or len(numbers) == 1)
        return (
            f"{names}: has ended without a word, or hangs: nothing is heard of it; its console or its scheduler may "
            "say why. The newest checkpoint is intact: start all processes again with --resume"
        )

    def _name(self, number: int) -> str:
        return f"process {number + 1} of {self._count}"
