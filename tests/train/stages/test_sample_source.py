# SPDX-License-Identifier: Apache-2.0
"""In lockstep, an iteration is sampled by the newest policy, which is lent for no longer than that."""

import numpy as np
import pytest

from ntl_jax.config import NTLSection, RolloutSection, RunConfig
from ntl_jax.experience.collector import Collector
from ntl_jax.metrics import Clock
from ntl_jax.records import Params, Prompt, Sampling, Trajectory, Version
from ntl_jax.train.stages.sample_source import Lockstep
from tests.engines import FakeEngine
from tests.samples import ask, make_scorer, respond


def as_sampled(
    policy: Params, prompts: list[Prompt], trajectories: list[Trajectory], temperature: float
) -> list[Trajectory]:
    """For a digit source: the engine captured everything."""
    return trajectories


@pytest.fixture
def make():
    def made() -> tuple[Lockstep, FakeEngine]:
        config = RunConfig(ntl=NTLSection(), rollout=RolloutSection(prompts_per_step=2, num_samples=2, max_tokens=12))
        engine = FakeEngine(lambda request, index: respond(request.prompt, "#### 5", index, seed=request.seed))
        prompts, sampling = [ask(i) for i in range(5)], Sampling(num_samples=2, max_tokens=12)
        collector = Collector(config, prompts, engine, as_sampled, make_scorer(), sampling)  # pyright: ignore
        return Lockstep(engine, collector), engine

    return made


def test_every_token_is_written_by_the_version_of_its_iteration_and_nothing_stays_lent(make):
    source, engine = make()
    for iteration in range(3):
        clock = Clock()
        samples = source.samples(iteration, {}, clock)
        assert [t.version for t in samples.scored.trajectories] == [Version(iteration)] * 4
        assert not engine.lent and not engine.unfinished
        assert clock.seconds.keys() == {"update_weights", "gen", "reward"}
    assert engine.published == [Version(iteration) for iteration in range(3)]


def test_a_source_that_is_restored_gives_the_samples_that_would_have_come(make):
    (source, _), (again, _) = make(), make()
    source.samples(0, {}, Clock())
    again.restore(source.position(), source.arrived())
    expected, found = (x.samples(1, {}, Clock()).scored for x in (source, again))
    assert [p.draw for p in found.prompts] == [p.draw for p in expected.prompts]
    for mine, other in zip(found.trajectories, expected.trajectories, strict=True):
        np.testing.assert_array_equal(mine.rollout_log_probs, other.rollout_log_probs)


def test_its_position_is_plain_data_that_json_can_hold(make):
    source, _ = make()
    source.samples(0, {}, Clock())
    assert source.position() == {"cursor": {"num_rows": 5, "seed": 2, "position": 2}}
