# SPDX-License-Identifier: Apache-2.0
"""Publishing, retracting, submitting and reading results: what is lent, what waits, and what never changes a sample."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Decoder, make_mesh
from ntl_jax.records import Prompt, Request, Sampling, Trajectory, Version, Weights
from ntl_jax.rollout import JaxEngine
from tests.engines import weights_of

SAMPLING = Sampling(num_samples=4, max_tokens=40, stop_token_ids=(3, 5))
SHORT = dataclasses.replace(SAMPLING, max_tokens=8)
PROMPTS = [Prompt(i, np.arange(1 + i % 7, dtype=np.int32), "", "1") for i in range(10)]


def make_engine(decoder, table) -> JaxEngine:
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    return JaxEngine(decoder.config, table, mesh=mesh, slots=16, max_prompt_tokens=100)


@pytest.fixture
def engine(decoder, table) -> JaxEngine:
    engine = make_engine(decoder, table)
    engine.publish(weights_of(decoder))
    return engine


def as_bytes(group: list[Trajectory]) -> list[tuple]:
    return [(t.response_ids.tobytes(), t.rollout_log_probs.tobytes(), t.finish_reason) for t in group]


def by_draw(groups) -> dict[int, list[tuple]]:
    return {group[0].draw: as_bytes(group) for group in groups}


def requests(prompts=PROMPTS, sampling=SAMPLING, seed=0) -> list[Request]:
    return [Request(prompt, sampling, seed) for prompt in prompts]


def alone(engine, request: Request) -> list[tuple]:
    return as_bytes(engine.generate([request.prompt], request.sampling, seed=request.seed))


@pytest.mark.optimized
def test_requests_of_different_seeds_decode_together_to_the_bits_of_each_alone(engine):
    mixed = [Request(prompt, SAMPLING, seed=7 * prompt.index) for prompt in PROMPTS]
    engine.submit(mixed)
    together = by_draw(engine.results())
    assert together == {request.prompt.draw: alone(engine, request) for request in mixed}
    assert together != by_draw([engine.generate([p], SAMPLING, seed=0) for p in PROMPTS])


@pytest.mark.optimized
def test_a_request_submitted_while_others_decode_gets_the_samples_that_it_gets_alone(engine):
    """Also where the engine began with so few that each had a group of slots to itself."""
    engine.submit(requests(PROMPTS[:1]))
    late, found = requests(PROMPTS[1:], seed=3), {}
    for group in engine.results():
        found |= by_draw([group])
        if late:
            engine.submit([late.pop(0) for _ in range(min(2, len(late)))])
    assert found == {p.draw: alone(engine, Request(p, SAMPLING, 3 * (p.index > 0))) for p in PROMPTS}


def test_groups_come_whole_and_in_order_of_completion(decoder, table):
    """The first Sampling has no stop tokens, so that all its responses are of one length."""
    engine = make_engine(decoder, table)
    engine.publish(weights_of(decoder))
    stopping = [
        dataclasses.replace(SAMPLING, stop_token_ids=stops, num_samples=8) for stops in ((), tuple(range(0, 40, 3)))
    ]
    for sampling in stopping:
        engine.submit(requests(sampling=sampling, seed=2))
    groups = list(engine.results())
    assert all([t.sample_index for t in group] == list(range(8)) for group in groups)
    order = [group[0].draw for group in groups]
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))  # the second Sampling waited for the first
    longest = [max(len(t.response_ids) for t in group) for group in groups]
    assert longest[:10] == [40] * 10 and order[10:] != sorted(order)  # a short group overtook a longer one


def test_results_end_when_everything_submitted_is_done_and_go_on_after_more(engine):
    assert list(engine.results()) == []
    engine.submit(requests(PROMPTS[:2]))
    assert engine.unfinished == 2
    first = next(engine.results())
    assert engine.unfinished == 1
    engine.submit(requests(PROMPTS[2:3], SHORT))
    rest = list(engine.results())
    assert sorted(group[0].draw for group in [first, *rest]) == [0, 1, 2]
    assert rest[-1][0].draw == 2  # of another Sampling: it waited
    assert engine.unfinished == 0


def test_steps_return_each_group_once_and_first_those_that_a_stopped_iteration_had_left(engine):
    engine.submit(requests(sampling=dataclasses.replace(SAMPLING, stop_token_ids=())))
    groups = [next(engine.results())]
    groups += (left := engine.step())
    assert len(left) > 1  # of one segment, since all responses are of one length
    empty = 0
    while engine.unfinished:
        groups += (finished := engine.step())
        empty += not finished
    assert sorted(group[0].draw for group in groups) == list(range(10))
    assert empty and engine.step() == []


def test_requests_in_flight_keep_the_weights_that_they_were_submitted_under(engine, decoder):
    other = Decoder(decoder.config, rngs=nnx.Rngs(1))
    engine.submit(requests())
    first = next(engine.results())
    engine.publish(weights_of(other, 7))
    engine.submit(requests())
    groups = [first, *engine.results()]
    assert [group[0].version for group in groups] == [Version(0)] * 10 + [Version(7)] * 10
    old, new = by_draw(groups[:10]), by_draw(groups[10:])
    assert new == {p.draw: alone(engine, Request(p, SAMPLING, 0)) for p in PROMPTS}
    engine.publish(weights_of(decoder, 8))
    assert old == {p.draw: alone(engine, Request(p, SAMPLING, 0)) for p in PROMPTS}


def test_arrays_are_lent_from_publish_to_retract_and_then_free_to_be_taken(engine, decoder):
    engine.retract()
    assert not engine.lent
    taken = jax.tree.map(lambda x: x.copy(), nnx.state(decoder, nnx.Param))
    engine.publish(Weights(Version(1), taken))
    assert engine.lent
    before = by_draw([engine.generate(PROMPTS[:1], SAMPLING, seed=0)])
    engine.submit(requests(PROMPTS[:3]))
    with pytest.raises(ValueError, match=r"3 requests are unfinished and need the published weights: read results\(\)"):
        engine.retract()
    assert len(list(engine.results())) == 3
    engine.retract()
    assert not engine.lent
    jax.tree.map(lambda x: x.delete(), taken)
    with pytest.raises(ValueError, match=r"no weights to sample from: publish\(Weights\(version, params\)\)"):
        engine.submit(requests())
    engine.publish(weights_of(decoder, 1))
    assert by_draw([engine.generate(PROMPTS[:1], SAMPLING, seed=0)]) == before


def test_publishing_the_version_that_the_engine_holds_does_nothing(engine, decoder):
    before = as_bytes(engine.generate(PROMPTS, SAMPLING, seed=0))
    other = nnx.state(Decoder(decoder.config, rngs=nnx.Rngs(1)), nnx.Param)
    engine.publish(Weights(Version(0), other))
    assert as_bytes(engine.generate(PROMPTS, SAMPLING, seed=0)) == before
    engine.publish(Weights(Version(0, "average"), other))
    assert as_bytes(engine.generate(PROMPTS, SAMPLING, seed=0)) != before


def test_weights_of_other_shapes_are_refused_and_the_engine_keeps_its_own(engine, decoder):
    wider = Decoder(dataclasses.replace(decoder.config, feed_forward=96), rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError, match=r"iteration=4.* do not fit the engine's policy: 6 arrays differ, such as .*96"
    ):
        engine.publish(weights_of(wider, 4))
    assert {t.version for t in engine.generate(PROMPTS[:1], SHORT, seed=0)} == {Version(0)}


def test_bad_requests_are_all_named_before_any_of_them_is_queued(engine):
    bad = [Prompt(20, np.zeros(0, np.int32), "", "1"), Prompt(21, np.array([40], np.int32), "", "1")]
    with pytest.raises(ValueError, match=r"2 of 12 prompts cannot be sampled:\n.*20 is empty\n.*21 holds ids outside"):
        engine.submit(requests([*PROMPTS, *bad]))
    with pytest.raises(ValueError, match=r"stop_strings=\('x',\) need decoded text"):
        engine.submit([*requests(), Request(PROMPTS[0], dataclasses.replace(SAMPLING, stop_strings=("x",)), 0)])
    assert engine.unfinished == 0


def test_a_failure_while_sampling_drops_what_was_submitted_and_the_engine_goes_on(engine, decoder):
    taken = jax.tree.map(lambda x: x.copy(), nnx.state(decoder, nnx.Param))
    engine.publish(Weights(Version(1), taken))
    engine.submit(requests())
    jax.tree.map(lambda x: x.delete(), taken)
    with pytest.raises(RuntimeError, match="deleted"):
        next(engine.results())
    assert engine.unfinished == 0
    engine.publish(weights_of(decoder, 2))
    assert len(engine.generate(PROMPTS, SAMPLING, seed=0)) == 40


def test_a_closed_engine_holds_nothing_and_samples_no_more(engine, decoder):
    engine.submit(requests())
    engine.close()
    assert not engine.lent and engine.unfinished == 0
    for call in (lambda: engine.submit(requests()), lambda: engine.publish(weights_of(decoder, 1))):
        with pytest.raises(RuntimeError, match="it is closed"):
            call()
