# SPDX-License-Identifier: Apache-2.0
"""Turns of programs in processes of their own: each is stopped while another has its turn."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

READY = "answer "  # begins the lines that are meant for the other side: libraries print too


class Peer:
    """The other program; it is asleep but in its turns, with whatever threads it left spinning.

    Args:
        module: run with ``python -m``; it has to `answer` once when it is ready, and then every request.
        arguments: of its command line.
        settings: environment variables beside those of this process.
    """

    def __init__(self, module: str, arguments: Sequence[str], settings: Mapping[str, str] | None = None):
        self._name = " ".join([module, *arguments])
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | (settings or {}),
        )
        self._sleep_after_answer()

    def turn(self, request: Any = None) -> Any:
        """Its answer to the request."""
        assert self._process.stdin is not None
        os.kill(self._process.pid, signal.SIGCONT)
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._sleep_after_answer()

    def _sleep_after_answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(READY):
                os.kill(self._process.pid, signal.SIGSTOP)
                return json.loads(line.removeprefix(READY))
        self._log.seek(0)
        raise RuntimeError(f"{self._name} ended:\n" + self._log.read()[-3000:])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


def answer(value: Any = None) -> None:
    """In the other process: ready, or done."""
    print(READY + json.dumps(value), flush=True)


def requests() -> Iterator[Any]:
    """In the other process: what it is asked, turn by turn."""
    answer()
    for line in sys.stdin:
        yield json.loads(line)
