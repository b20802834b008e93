# SPDX-License-Identifier: Apache-2.0
"""Traces of some iterations of policy optimization, for XProf and Perfetto."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax

FOLDER = "profile"
"""In the run folder; every run of the command adds a folder to it."""


def check_profile(iterations: tuple[int, int] | None, steps: int, stage: str, position: Mapping[str, Any]) -> None:
    """Raises a ValueError if a run will not come by these iterations.

    Args:
        iterations: the first and the last to trace; None: nothing is.
        steps: ``trainer.steps``.
        stage, position: of the newest checkpoint; "" for a run that begins.
    """
    if iterations is None:
        return
    first, last = iterations
    done = position["iteration"] if stage == "ppo" else 0
    given = f"--profile={first}:{last}"
    if last > steps:
        has = f"the run has {steps:,}, trainer.steps" if steps else "the run has none, trainer.steps=0"
        raise ValueError(f"{given}: {has}: name iterations of PPO up to that")
    if first <= done:
        raise ValueError(f"{given}: the run continues after iteration {done}: name later ones, up to {steps}")


class Profiler:
    """Traces what happens on the host and the devices in these iterations; a context manager.

    Args:
        folder: the run folder.
        iterations: of PPO, the first and the last, counted from 1 as in metrics.jsonl; None: nothing is traced.
    """

    def __init__(self, folder: pathlib.Path, iterations: tuple[int, int] | None):
        self._folder, self._iterations = folder / FOLDER, iterations
        self._open = contextlib.ExitStack()

    @contextlib.contextmanager
    def step(self, stage: str, number: int) -> Iterator[None]:
        """Surrounds one step of a stage."""
        first, last = self._iterations or (0, 0)
        if stage != "ppo" or not first <= number <= last:
            yield
            return
        if number == first:
            jax.profiler.start_trace(self._folder)
            self._open.callback(jax.profiler.stop_trace)
        with jax.profiler.StepTraceAnnotation("ppo", step_num=number):
            yield
        if number == last:
            self._open.close()

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
