# SPDX-License-Identifier: Apache-2.0
"""Thousands of schedules of a pool in virtual time, with workers of any speed that die, leave and are replaced: who
samples what is never lost, doubled or sampled by another version than the lag allows.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from ntl_jax.config import NTLSection, RolloutSection, RunConfig
from ntl_jax.experience.collector import Collector, Samples
from ntl_jax.experience.reader import Reading
from ntl_jax.experience.scored import Scored
from ntl_jax.metrics import Clock
from ntl_jax.records import Prompt, Sampling, Version
from ntl_jax.rewards import RewardOutcome
from ntl_jax.rollout import RolloutEngine
from ntl_jax.train.stages.sample_source import FixedLag
from tests.engines import FakeEngine
from tests.rollout.pool.requests import respond
from tests.samples import AsSampled
from tests.train.stages.simulated_pool import Chance, SimulatedPool

NUM_SCHEDULES = 2000
SHARDS = 4
PROMPTS = [Prompt(i, np.array([i], np.int32), "", "") for i in range(11)]


class Unscored:
    """A scorer that gives every sample the same score."""

    def begin(self, prompts: Any, trajectories: Any, tau: float) -> Callable[[], Scored]:
        count = len(trajectories)
        reading = Reading("", np.zeros(0, int), None, False, None, False, np.zeros(0, np.int8))
        outcomes, readings = [RewardOutcome.of(0.0)] * count, [reading] * count
        return lambda: Scored(prompts, trajectories, readings, None, outcomes, tau, {}, [])


class Shape(NamedTuple):
    """What an iteration asks for, and how many there are."""

    lag: int
    num_prompts: int
    num_samples: int
    num_iterations: int


def source_of(shape: Shape, engine: RolloutEngine) -> FixedLag:
    rollout = RolloutSection(prompts_per_step=shape.num_prompts, num_samples=shape.num_samples, max_tokens=6)
    config = RunConfig(ntl=NTLSection(enabled=False), rollout=rollout)
    sampling = Sampling(shape.num_samples, max_tokens=6)
    collector = Collector(config, PROMPTS, engine, AsSampled(), Unscored(), sampling)  # pyright: ignore
    return FixedLag(engine, collector, max_staleness=shape.lag, num_iterations=shape.num_iterations)


def draw(seed: int) -> tuple[Shape, Chance]:
    rng = np.random.default_rng([seed, 1])
    shape = Shape(*(int(rng.integers(*bounds)) for bounds in ((0, 5), (1, 6), (1, 4), (2, 7))))
    chance = Chance(
        workers=int(rng.integers(1, 6)),
        capacity=int(rng.integers(1, 13)),
        speed=float(rng.choice([1.0, 3.0, 30.0])),
        deaths=float(rng.choice([0.0, 0.05, 0.3])),
        poisoned=float(rng.choice([0.0, 0.0, 0.1, 0.5])),
        resizes=float(rng.choice([0.0, 0.1])),
    )
    return shape, chance


def check(samples: Samples, expected: Samples, iteration: int, shape: Shape, pool: SimulatedPool) -> int:
    """An iteration has its groups whole, from its version, and lost ones only where they kill; returns how many."""
    found, others = samples.scored.trajectories, expected.scored.trajectories
    size = shape.num_samples
    assert [(t.draw, t.sample_index) for t in found] == [(t.draw, t.sample_index) for t in others]
    assert [t.sample_index for t in found] == list(range(size)) * shape.num_prompts
    assert {t.version for t in found} == {Version(max(0, iteration - shape.lag))}
    for t, other in zip(found, others, strict=True):
        assert (t.finish_reason == "lost") == pool.is_poisoned(t.draw)
        assert t.finish_reason == "lost" or t.response_ids.tobytes() == other.response_ids.tobytes()
    return sum(t.finish_reason == "lost" for t in found)


def run_schedule(seed: int) -> tuple[int, int]:
    """One schedule; returns the number of deaths and of lost samples."""
    shape, chance = draw(seed)
    rng = np.random.default_rng([seed, 2])
    pool = SimulatedPool(chance, seed)
    source, num_lost, num_deaths = source_of(shape, pool), 0, 0
    reference = source_of(shape._replace(lag=0), FakeEngine(respond, copies=True))
    for iteration in range(shape.num_iterations):
        samples = source.samples(iteration, None, Clock())
        num_lost += check(samples, reference.samples(iteration, None, Clock()), iteration, shape, pool)
        pool.pass_time(rng.exponential(5.0))  # an update
        if rng.random() < 0.15:  # the run ends with a checkpoint, and is resumed
            source.wait()
            assert sorted(pool.finished) == list(range(pool.num_submitted))
            position, arrived, num_deaths = json.loads(json.dumps(source.position())), source.arrived(), pool.num_deaths
            pool = SimulatedPool(chance, seed)
            source = source_of(shape, pool)
            source.restore(position, arrived)
    assert pool.unfinished == 0 and sorted(pool.finished) == list(range(pool.num_submitted))
    return num_deaths + pool.num_deaths, num_lost


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_schedule_loses_doubles_or_delays_a_sample_beyond_the_lag(shard):
    deaths, lost = zip(*(run_schedule(seed) for seed in range(shard, NUM_SCHEDULES, SHARDS)), strict=True)
    assert sum(deaths) > NUM_SCHEDULES / SHARDS and sum(lost) > NUM_SCHEDULES / SHARDS  # it was not calm
