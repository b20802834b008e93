# SPDX-License-Identifier: Apache-2.0
"""In lockstep, an iteration is sampled by the newest policy, which is lent for no longer than that; with a lag,
by an older one, which all samples of the iteration have in common.
"""

import json

import numpy as np
import pytest

from ntl_jax.config import AlgorithmSection, NTLSection, RolloutSection, RunConfig
from ntl_jax.experience.collector import Collector, Samples
from ntl_jax.metrics import Clock
from ntl_jax.records import Sampling, Version, Weights
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.train.stages.sample_source import FixedLag, Lockstep, SampleSource
from tests.engines import FakeEngine
from tests.samples import AsSampled, ask, make_scorer, respond


@pytest.fixture
def make():
    """Makes a source over six prompts, two an iteration, and its engine; ``lag`` None: in lockstep."""

    def made(
        lag: int | None = None, num_iterations: int = 6, probe_every: int | None = None, **settings
    ) -> tuple[SampleSource, FakeEngine]:
        algorithm = AlgorithmSection(**settings.pop("algorithm", {}))
        rollout = RolloutSection(prompts_per_step=2, num_samples=2, max_tokens=12)
        config = RunConfig(algorithm=algorithm, ntl=NTLSection(), rollout=rollout)
        engine = FakeEngine(
            lambda request, index: respond(request.prompt, "#### 5", index, seed=request.seed),
            copies=lag is not None,
            **settings,
        )
        prompts, sampling = [ask(i) for i in range(5)], Sampling(num_samples=2, max_tokens=12)
        collector = Collector(config, prompts, engine, AsSampled(), make_scorer(), sampling)  # pyright: ignore
        if lag is None:
            return Lockstep(engine, collector), engine
        rest = {"max_staleness": lag, "num_iterations": num_iterations, "probe_every": probe_every}
        return FixedLag(engine, collector, **rest), engine

    return made


def drawn(samples: Samples) -> list[tuple]:
    """What must not differ between sources, in order."""
    return [(t.draw, t.sample_index, t.rollout_log_probs.tobytes()) for t in samples.scored.trajectories]


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


@pytest.mark.parametrize("lag", [0, 1, 2, 4])
def test_with_a_lag_every_token_is_written_by_the_version_so_many_iterations_before(make, lag):
    """The samples are those of lockstep; only who writes them differs."""
    (source, engine), (lockstep, _) = make(lag), make()
    for iteration in range(6):
        clock = Clock()
        samples = source.samples(iteration, {}, clock)
        written = Version(max(0, iteration - lag))
        assert {t.version for t in samples.scored.trajectories} == {written}
        assert drawn(samples) == drawn(lockstep.samples(iteration, {}, Clock()))
        age = iteration - written.iteration
        assert samples.metrics["staleness/mean"] == samples.metrics["staleness/max"] == age
        assert 0 <= samples.metrics["pool/trainer_idle"] <= 1
        assert clock.seconds.keys() == {"update_weights", "gen", "reward"}
    assert engine.published == [Version(iteration) for iteration in range(6)]


def test_probes_are_drawn_by_the_newest_weights_and_leave_the_samples_of_training_as_they_are(make):
    (probed, _), (plain, _) = make(2, probe_every=2), make(2)
    for iteration in range(6):
        samples, expected = (source.samples(iteration, {}, Clock()) for source in (probed, plain))
        assert drawn(samples) == drawn(expected) and not expected.probe
        assert {t.version.iteration for t in samples.probe} == ({iteration} if iteration % 2 == 0 else set())
        assert not {t.draw for t in samples.probe} & {t.draw for t in samples.scored.trajectories}
        assert probed.position() == plain.position()


def test_iterations_are_submitted_as_soon_as_their_version_is_published_and_none_after_the_last(make):
    source, engine = make(2, num_iterations=5)
    submitted = []
    for iteration in range(5):
        source.samples(iteration, {}, Clock())
        submitted.append(len(engine.submitted) // 2)
    assert submitted == [3, 4, 5, 5, 5] and engine.unfinished == 0


def test_an_engine_that_lends_is_no_engine_for_a_lag(make):
    source, _ = make(1)
    source._engine._copies = False
    with pytest.raises(AssertionError, match="updates go on while this engine samples"):
        source.samples(0, {}, Clock())


@pytest.mark.parametrize("lag", [0, 1, 3])
@pytest.mark.parametrize("stopped", [1, 2, 5])
def test_a_source_with_a_lag_that_is_restored_goes_on_exactly(make, lag, stopped):
    """A checkpoint waits for what is submitted, and holds it: also the versions are those that would have come."""
    (source, _), (again, engine) = make(lag), make(lag)
    for iteration in range(stopped):
        source.samples(iteration, {}, Clock())
    source.wait()
    again.restore(json.loads(json.dumps(source.position())), source.arrived())
    for iteration in range(stopped, 6):
        expected, found = (x.samples(iteration, {}, Clock()) for x in (source, again))
        assert drawn(found) == drawn(expected)
        assert {t.version for t in found.scored.trajectories} == {Version(max(0, iteration - lag))}
    assert not engine.unfinished


def test_an_evaluation_in_between_changes_no_sample(make):
    (source, engine), (other, _) = make(1), make(1)
    for iteration in range(4):
        samples = source.samples(iteration, {}, Clock())
        assert drawn(samples) == drawn(other.samples(iteration, {}, Clock()))
        assert {t.version for t in samples.scored.trajectories} == {Version(max(0, iteration - 1))}
        source.wait()
        with engine.lending(Weights(Version(iteration + 1), {})):
            engine.generate([ask(9)], Sampling(num_samples=1, max_tokens=12, temperature=0.0), seed=0)


@pytest.mark.parametrize("algorithm", [{"dynamic_sampling": True, "max_refills": 1}, {"advantage": "remax"}], ids=str)
def test_what_is_asked_for_after_the_samples_were_seen_comes_from_the_newest_policy(make, algorithm):
    """Every sample scores the same, so that dynamic sampling draws others."""
    source, engine = make(2, algorithm=algorithm)
    for iteration in range(6):
        samples = source.samples(iteration, {}, Clock())
        assert {t.version for t in samples.scored.trajectories} == {Version(max(0, iteration - 2))}
        assert samples.metrics["staleness/max"] <= 2
        assert engine.published[-1] == Version(iteration)


@pytest.mark.parametrize("lag", [0, 1])
def test_a_step_that_lost_its_workers_can_be_done_again_from_its_position(make, lag):
    """At lag 0 exactly; beyond it, what had not arrived is drawn by a newer policy, so that the bound holds."""
    (source, _), (whole, _), (again, _) = make(lag, loses_workers_after=7), make(lag), make(lag)
    expected, iteration, position = [], 0, source.position()
    with pytest.raises(WorkersLostError):
        while True:
            position = source.position()
            expected.append(drawn(source.samples(iteration, {}, Clock())))
            iteration += 1
    again.restore(json.loads(json.dumps(position)), source.arrived())
    for k in range(6):
        found = drawn(whole.samples(k, {}, Clock()))
        if k < iteration:
            assert found == expected[k]
            continue
        samples = again.samples(k, {}, Clock())
        assert drawn(samples) == found
        assert {max(0, k - lag)} <= {t.version.iteration for t in samples.scored.trajectories} <= {k, max(0, k - lag)}
