# SPDX-License-Identifier: Apache-2.0
"""Provides a stage's samples, and decides which version of the policy draws them."""

import abc
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ntl_jax.experience.collector import Collector, Samples
from ntl_jax.metrics import Clock
from ntl_jax.records import Params, Version, Weights
from ntl_jax.rollout import RolloutEngine
from ntl_jax.rollout.flat_trajectories import FlatTrajectories

PROBE_PROMPTS = 4
"""Prompts of a probe: with eight samples each, enough tokens to see what an engine does to log-probs."""


class SampleSource(abc.ABC):
    """Scored samples, iteration by iteration.

    Args:
        engine: samples responses.
        collector: collects samples from the same engine.
    """

    def __init__(self, engine: RolloutEngine, collector: Collector):
        self._engine, self._collect = engine, collector

    @abc.abstractmethod
    def samples(self, iteration: int, policy: Params, clock: Clock) -> Samples:
        """The samples that an iteration learns from; nothing is lent to an engine afterwards.

        Args:
            iteration: counts from 0.
            policy: the newest parameters.
            clock: records a lap per part.
        """

    def wait(self) -> None:
        """Waits until the engine has nothing left to sample, so that others can use it; the samples are kept."""
        self._collect.wait()

    def position(self) -> dict[str, Any]:
        """The source's position for a checkpoint, as JSON."""
        return self._collect.position()

    def arrived(self) -> FlatTrajectories:
        """Samples for later iterations, which a checkpoint holds beside the position."""
        return self._collect.arrived()

    def restore(self, position: Mapping[str, Any], arrived: FlatTrajectories) -> None:
        """Continues from a checkpoint's position, with the samples that it holds."""
        self._collect.restore(position, arrived)


class Lockstep(SampleSource):
    """Each iteration learns from samples of the newest policy: sampling and updates alternate, nothing is copied."""

    def samples(self, iteration: int, policy: Params, clock: Clock) -> Samples:
        with self._engine.lending(Weights(Version(iteration), policy)):
            clock.lap("update_weights")
            self._collect.begin(iteration)
            return self._collect(policy, iteration, clock)


class FixedLag(SampleSource):
    """Iteration k learns from samples of the policy before iteration k - S, drawn while updates went on.

    The lag is a strict bound and deterministic, since it is kept by waiting: no sample is dropped, and nothing depends
    on how fast anything is. The first S iterations learn from samples of the initial policy. What an iteration asks for
    once it has seen its samples, in dynamic sampling and for greedy baselines, is drawn by the newest policy.

    Args:
        engine: copies what it publishes, so that updates may go on while it samples.
        collector: collects samples from the same engine.
        max_staleness: S.
        num_iterations: no samples are drawn for iterations from this one on.
        probe_every: iterations between probes: samples of the newest weights, for which the iteration waits, to tell
            what the engine does to log-probs from what age does; None: no probes.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        collector: Collector,
        *,
        max_staleness: int,
        num_iterations: int,
        probe_every: int | None = None,
    ):
        super().__init__(engine, collector)
        self._lag, self._end, self._probe_every = max_staleness, num_iterations, probe_every
        self._collected = time.monotonic()

    def samples(self, iteration: int, policy: Params, clock: Clock) -> Samples:
        self._engine.publish(Weights(Version(iteration), policy))
        assert not self._engine.lent, "updates go on while this engine samples"
        self._collect.resubmit()
        is_probed = self._probe_every is not None and iteration % self._probe_every == 0
        probe = self._collect.probe(iteration, PROBE_PROMPTS) if is_probed else []
        next_iteration = max(self._collect.begun, default=iteration - 1) + 1
        for later in range(next_iteration, min(iteration + self._lag + 1, self._end)):
            self._collect.begin(later)
        clock.lap("update_weights")
        samples = self._collect(policy, iteration, clock)
        ages = [iteration - t.version.iteration for t in samples.scored.trajectories]
        seconds, self._collected = time.monotonic() - self._collected, time.monotonic()
        metrics = {
            "staleness/mean": float(np.mean(ages)),
            "staleness/max": float(max(ages)),
            "pool/trainer_idle": clock.seconds["gen"] / seconds,
        }
        return samples._replace(metrics=samples.metrics | metrics, probe=probe)
