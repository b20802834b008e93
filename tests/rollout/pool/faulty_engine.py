# SPDX-License-Identifier: Apache-2.0
"""An engine in a worker's process that fails where and as a test asks."""

import collections
import os
import pathlib
import signal
import sys
import time
from collections.abc import Sequence

import jax

from ntl_jax.models import ModelConfig, make_mesh
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Request, Trajectory, Weights
from ntl_jax.rollout import JaxEngine, RolloutEngine
from ntl_jax.train import engines
from tests.engines import WrappedEngine

POISON = 39
"""A prompt with this id ends the process that is to sample it."""
FOLDER = "NTL_JAX_TEST_FAULTS"
"""The environment variable that names the folder of faults in the workers of whole runs."""


class FaultyEngine(WrappedEngine):
    """Wraps an engine. A file in the folder is a fault, which the worker that removes it has.

    Its name is PLACE-COUNT-FAULT: the place is "update", inside a weight update, or "sample", after a step; the worker
    has been there so many times at least. The fault is "exit", "kill", "stop", "hang" or "raise".

    Args:
        engine: samples.
        folder: of the faults.
        poison: a prompt with this id ends the process that is to sample it; None: none does.
    """

    def __init__(self, engine: RolloutEngine, folder: pathlib.Path, poison: int | None = None):
        super().__init__(engine)
        self._folder, self._poison = folder, poison
        self._visits = collections.Counter[str]()

    def _fail_at(self, place: str) -> None:
        self._visits[place] += 1
        for path in sorted(self._folder.glob(f"{place}-*")):
            _, count, fault = path.name.split("-")
            if self._visits[place] >= int(count):
                try:
                    path.unlink()
                except FileNotFoundError:
                    continue  # another worker has it
                fail(fault)

    def publish(self, weights: Weights) -> None:
        self._fail_at("update")
        super().publish(weights)

    def submit(self, requests: Sequence[Request]) -> None:
        if any(self._poison in request.prompt.ids for request in requests):
            fail("exit")
        super().submit(requests)

    def _sample(self) -> list[list[Trajectory]]:
        groups = super()._sample()
        self._fail_at("sample")
        return groups


def fail(fault: str) -> None:
    """Does what the fault's name says."""
    match fault:
        case "exit":
            print("last words", file=sys.stderr, flush=True)
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "hang":
            time.sleep(3600)
        case "raise":
            raise OSError("no space left")
        case other:
            raise AssertionError(other)


def small_engine(model: ModelConfig, table: NumberTable, slots: int, num_prompts: int) -> JaxEngine:
    """The engine of the tests of a pool, on one device."""
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    return JaxEngine(model, table, mesh=mesh, slots=slots, max_prompt_tokens=16, num_prompts=num_prompts)


ENGINE_OF_RUNS = engines.worker_engine


def worker_engine(parts: engines.EngineParts, compilation_cache: str) -> RolloutEngine:
    """In the place of the function of this name that makes a worker's engine in whole runs."""
    return FaultyEngine(ENGINE_OF_RUNS(parts, compilation_cache), pathlib.Path(os.environ[FOLDER]))
