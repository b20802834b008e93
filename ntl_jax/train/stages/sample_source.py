# SPDX-License-Identifier: Apache-2.0
"""Provides a stage's samples, and decides which version of the policy draws them."""

import abc
from collections.abc import Mapping
from typing import Any

from ntl_jax.experience.collector import Collector, Samples
from ntl_jax.metrics import Clock
from ntl_jax.records import Params, Version, Weights
from ntl_jax.rollout import RolloutEngine


class SampleSource(abc.ABC):
    """Scored samples, iteration by iteration."""

    @abc.abstractmethod
    def samples(self, iteration: int, policy: Params, clock: Clock) -> Samples:
        """The samples that an iteration learns from; nothing is lent to an engine afterwards.

        Args:
            iteration: counts from 0.
            policy: the newest parameters.
            clock: records a lap per part.
        """

    @abc.abstractmethod
    def position(self) -> dict[str, Any]:
        """The source's position for a checkpoint, as JSON."""

    @abc.abstractmethod
    def restore(self, position: Mapping[str, Any]) -> None:
        """Continues from a checkpoint's position."""


class Lockstep(SampleSource):
    """Each iteration learns from samples of the newest policy: sampling and updates alternate, weights are not copied.

    Args:
        engine: samples responses.
        collector: collects samples from the same engine.
    """

    def __init__(self, engine: RolloutEngine, collector: Collector):
        self._engine, self._collect = engine, collector

    def samples(self, iteration: int, policy: Params, clock: Clock) -> Samples:
        with self._engine.lending(Weights(Version(iteration), policy)):
            clock.lap("update_weights")
            return self._collect(policy, iteration, clock)

    def position(self) -> dict[str, Any]:
        return {"cursor": self._collect.cursor.state()}

    def restore(self, position: Mapping[str, Any]) -> None:
        self._collect.cursor.restore(position["cursor"])
