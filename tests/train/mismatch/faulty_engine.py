# SPDX-License-Identifier: Apache-2.0
"""A real engine between which and the trainer something goes wrong."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from ntl_jax.records import Request, Sampling, Trajectory, Weights
from ntl_jax.rollout import RolloutEngine
from tests.engines import WrappedEngine

OnPublish = Callable[[Weights], Weights | None]


class FaultyEngine(WrappedEngine):
    """Samples with another engine, which is given something else than what was asked.

    Args:
        engine: the real one.
        weights: what reaches it of published weights; None: nothing, it keeps those that it has.
        sampling: what it samples with.
        swapped: two ids of which it takes one for the other, in prompts and responses.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        *,
        weights: OnPublish = lambda weights: weights,
        sampling: Callable[[Sampling], Sampling] = lambda sampling: sampling,
        swapped: tuple[int, int] | None = None,
    ):
        super().__init__(engine)
        self._weights, self._sampling, self._swapped = weights, sampling, swapped
        self._held: Weights | None = None

    def publish(self, weights: Weights) -> None:
        reaches = self._weights(weights)
        if reaches is not None:  # copied, since an update takes the memory of what the trainer publishes
            self._held = Weights(reaches.version, jax.tree.map(lambda x: x.copy(), reaches.params))
        assert self._held is not None
        self._engine.publish(self._held)

    def submit(self, requests: Sequence[Request]) -> None:
        self._engine.submit([self._faulty(request) for request in requests])

    def _sample(self) -> list[list[Trajectory]]:
        return [[self._returned(t) for t in group] for group in self._engine.step()]

    def close(self) -> None:
        """The engine belongs to the tests."""

    def _faulty(self, request: Request) -> Request:
        prompt = dataclasses.replace(request.prompt, ids=self._swap(request.prompt.ids))
        return dataclasses.replace(request, prompt=prompt, sampling=self._sampling(request.sampling))

    def _returned(self, trajectory: Trajectory) -> Trajectory:
        return dataclasses.replace(
            trajectory,
            prompt_ids=self._swap(trajectory.prompt_ids),
            response_ids=self._swap(trajectory.response_ids),
        )

    def _swap(self, ids: np.ndarray) -> np.ndarray:
        if self._swapped is None:
            return ids
        first, second = self._swapped
        return np.select([ids == first, ids == second], [second, first], ids).astype(ids.dtype)
