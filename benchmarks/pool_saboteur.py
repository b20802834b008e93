# SPDX-License-Identifier: Apache-2.0
"""Part of `benchmarks.pool`: an engine that fails where an order says."""

import json
import os
import pathlib
import signal
import threading
import time
from collections.abc import Sequence

from benchmarks.pool_runs import make_engine
from ntl_jax.records import Request, Trajectory, Weights
from ntl_jax.rollout import RolloutEngine
from ntl_jax.train.engines import EngineParts

INSIDE = ("exit", "exception", "killed in an update", "killed after results")
"""Orders."""


class Saboteur(RolloutEngine):
    """A worker's engine that fails when a file orders it, at the place that its name says.

    Args:
        engine: samples.
        orders: folder of the orders. The first worker that comes to the place obeys, and leaves the time in ``obeyed``.
    """

    def __init__(self, engine: RolloutEngine, orders: pathlib.Path):
        super().__init__()
        self._engine, self._orders = engine, orders

    def _obeys(self, order: str) -> bool:
        try:
            (self._orders / order).unlink()
        except FileNotFoundError:
            return False
        (self._orders / "obeyed").write_text(json.dumps([os.getpid(), time.time()]) + "\n")
        return True

    def _sample(self) -> list[list[Trajectory]]:
        if self._obeys("exit"):
            os._exit(3)
        if self._obeys("exception"):
            raise ArithmeticError("as ordered")
        groups = self._engine.step()
        if groups and self._obeys("killed after results"):
            threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return groups

    def publish(self, weights: Weights) -> None:
        if self._obeys("killed in an update"):
            os.kill(os.getpid(), signal.SIGKILL)
        self._engine.publish(weights)

    def retract(self) -> None:
        self._engine.retract()

    @property
    def lent(self) -> bool:
        return self._engine.lent

    @property
    def unfinished(self) -> int:
        return self._engine.unfinished + len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        self._engine.submit(requests)

    def metrics(self) -> dict[str, float]:
        return self._engine.metrics()

    def close(self) -> None:
        self._engine.close()


def saboteur(orders: pathlib.Path, parts: EngineParts, compilation_cache: str) -> RolloutEngine:
    return Saboteur(make_engine(parts, compilation_cache), orders)
