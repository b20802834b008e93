# SPDX-License-Identifier: Apache-2.0
"""Traces of some iterations of policy optimization, for XProf and Perfetto."""

import contextlib
import pathlib
from collections.abc import Iterator

import jax

from ntl_jax.config import printable
from ntl_jax.ending import warn
from ntl_jax.profile_range import written_range

FOLDER = "profile"
"""In the run folder; every run of the command adds a folder to it."""


class Profiler:
    """Traces what happens on the host and the devices in these iterations, and prints where; a context manager.

    A run may end before it reaches them; then a warning says so.

    Args:
        folder: the run folder.
        iterations: of PPO, the first and the last, counted from 1 as in metrics.jsonl; None: nothing is traced.
    """

    def __init__(self, folder: pathlib.Path, iterations: tuple[int, int] | None):
        self._folder, self._iterations = folder / FOLDER, iterations
        self._open = contextlib.ExitStack()
        self._newest = 0

    @contextlib.contextmanager
    def step(self, stage: str, number: int) -> Iterator[None]:
        """Surrounds one step of a stage."""
        self._newest = number if stage == "ppo" else 0
        first, last = self._iterations or (0, 0)
        if stage != "ppo" or not first <= number <= last:
            yield
            return
        if number == first:
            jax.profiler.start_trace(self._folder)
            self._open.callback(self._tell)
            self._open.callback(jax.profiler.stop_trace)
        with jax.profiler.StepTraceAnnotation("ppo", step_num=number):
            yield
        if number == last:
            self._open.close()

    def _tell(self) -> None:
        traces = self._folder.glob("plugins/profile/*")
        print(printable(f"trace: {max(traces, default=self._folder)}"), flush=True)

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        if self._iterations is not None and self._newest < self._iterations[0]:
            ended = f"after iteration {self._newest}" if self._newest else "before PPO"
            warn(f"{written_range(self._iterations)}: the run ended {ended}: nothing was traced")
