# SPDX-License-Identifier: Apache-2.0
"""A stage that learns nothing, for tests of what drives a stage."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntl_jax.experience.scored import Scored
from ntl_jax.records import Version, Weights
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.train.journal.step_samples import StepSamples
from ntl_jax.train.stages.stage import Stage
from ntl_jax.update.state import ModelState, TrainState


def state_at(step: int, average: float | None = None) -> TrainState:
    """A state whose only parameter is the number of its step, with an average of that value or without one."""
    kept = None if average is None else {"weight": jnp.full((2, 3), average)}
    model = ModelState({"weight": jnp.full((2, 3), float(step))}, (jnp.ones(2),), kept)
    return TrainState(jnp.int32(step), {"policy": model})


class CountingStage(Stage):
    """Counts its steps.

    Args:
        total, eval_every: as in `Stage`.
        metrics: of a step, by its number.
        scored: the samples of every step.
        num_rows: of the data that its cursor goes through.
        loses_workers_at: the step in which its engine loses its workers, after half of it.
        loses_workers_after: the step after which it does, with samples for later steps on their way.
    """

    name, section = "ppo", "algorithm"

    def __init__(
        self,
        total: int,
        eval_every: int | None = None,
        *,
        metrics: Mapping[int, dict[str, float]] | None = None,
        scored: Scored | None = None,
        num_rows: int = 5,
        loses_workers_at: int | None = None,
        loses_workers_after: int | None = None,
    ):
        self.total, self.eval_every, self.state = total, eval_every, state_at(0)
        self._metrics, self._scored, self._count = metrics or {}, scored, 0
        self._cursor, self._loses_workers_at = {"num_rows": num_rows}, loses_workers_at
        self._loses_workers_after = loses_workers_after
        self.samples: FlatTrajectories = {}
        """Of which it was restored."""

    def step(self) -> tuple[dict[str, float], StepSamples | None]:
        self._count += 1
        if self._count == self._loses_workers_at:
            raise WorkersLostError("0 of 2 workers are left. Deaths: killed")
        self.state = state_at(self._count)
        metrics = {"critic/score/mean": float(self._count)} | self._metrics.get(self._count, {})
        if self._scored is None:
            return metrics, None
        return metrics, StepSamples(self._scored, np.zeros((len(self._scored.trajectories), 24)))

    @property
    def last_prompts(self) -> Sequence[int]:
        return [self._count]

    def weights(self) -> Weights:
        return Weights(Version(self._count), self.state.policy.params)

    def position(self) -> dict[str, Any]:
        return {"count": self._count, "cursor": self._cursor}

    def wait(self) -> None:
        """Samples nothing."""
        if self._count == self._loses_workers_after:
            raise WorkersLostError("0 of 2 workers are left")

    def arrived(self) -> FlatTrajectories:
        return {"draws": np.array([self._count])}

    def restore(self, state: TrainState, position: Mapping[str, Any], arrived: FlatTrajectories) -> None:
        self.state, self._count, self._cursor = state, position["count"], position["cursor"]
        self.samples = arrived


class FirstStage(CountingStage):
    """The same before it."""

    name, section = "warm_start", "warm_start"
