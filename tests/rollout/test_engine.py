# SPDX-License-Identifier: Apache-2.0
"""What ``generate`` makes of submitted requests and finished groups, with an engine that needs no device."""

import numpy as np
import pytest

from ntl_jax.records import Prompt, Request, Sampling, Trajectory, Version, VersionSpan, Weights
from tests.engines import FakeEngine

SAMPLING = Sampling(num_samples=2, max_tokens=3)
PROMPTS = [Prompt(i, np.array([i + 1], np.int32), "", "1") for i in range(4)]


def respond(request: Request, index: int) -> Trajectory:
    """Two tokens: the prompt's and the sample's number."""
    prompt = request.prompt
    ids, log_probs = np.array([prompt.index, index]), np.zeros(2, np.float32)
    return Trajectory(prompt.index, index, prompt.ids, ids, log_probs, None, "stop", (), draw=prompt.draw)


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(respond, last_first=True)
    engine.publish(Weights(Version(3), {}))
    return engine


def test_generate_gives_prompt_order_whatever_the_order_of_completion(engine):
    trajectories = engine.generate(PROMPTS, SAMPLING, seed=5)
    assert [t.response_ids.tolist() for t in trajectories] == [[i, g] for i in range(4) for g in range(2)]
    assert {t.versions for t in trajectories} == {(VersionSpan(0, 2, Version(3)),)}
    assert [request.seed for request in engine.submitted] == [5] * 4
    engine.submit([Request(prompt, SAMPLING, 5) for prompt in PROMPTS])
    assert [group[0].prompt_index for group in engine.results()] == [3, 2, 1, 0]


def test_a_step_returns_what_finished_and_nothing_once_all_is_done(engine):
    engine.submit([Request(prompt, SAMPLING, 5) for prompt in PROMPTS[:2]])
    first = next(engine.results())
    steps = [engine.step() for _ in range(2)]
    assert [[group[0].prompt_index for group in groups] for groups in ([first], *steps)] == [[1], [0], []]
    assert engine.unfinished == 0


def test_the_same_prompt_twice_in_a_call_gives_two_groups(engine):
    order = [(t.prompt_index, t.sample_index) for t in engine.generate([PROMPTS[1]] * 2, SAMPLING, seed=0)]
    assert order == [(1, 0), (1, 1)] * 2


def test_generate_beside_unfinished_requests_is_refused_and_so_is_retracting_their_weights(engine):
    engine.submit([Request(prompt, SAMPLING, 0) for prompt in PROMPTS])
    next(engine.results())
    with pytest.raises(ValueError, match="3 requests are unfinished, whose results would be mixed"):
        engine.generate(PROMPTS, SAMPLING, seed=0)
    with pytest.raises(ValueError, match=r"3 requests are unfinished .* read results\(\) to its end before retract"):
        engine.retract()
    assert len(list(engine.results())) == 3
    engine.retract()
    assert not engine.lent


def test_a_loan_ends_with_its_context_and_with_an_error_in_it(engine):
    with engine.lending(Weights(Version(4), {})):
        engine.generate(PROMPTS, SAMPLING, seed=0)
        assert engine.lent
    assert not engine.lent
    with pytest.raises(KeyError, match="reward"), engine.lending(Weights(Version(5), {})):
        raise KeyError("reward")
    assert not engine.lent


def test_an_error_between_groups_is_raised_as_it_is_and_the_other_requests_keep_their_weights(engine):
    def stop_between_groups():
        engine.submit([Request(prompt, SAMPLING, 0) for prompt in PROMPTS])
        next(engine.results())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), engine.lending(Weights(Version(4), {})):
        stop_between_groups()
    assert engine.lent and engine.unfinished == 3


def test_without_weights_nothing_is_submitted(engine):
    engine.retract()
    with pytest.raises(ValueError, match=r"no weights to sample from: publish\(Weights\(version, params\)\) before"):
        engine.generate(PROMPTS, SAMPLING, seed=0)
    assert engine.submitted == [] and engine.unfinished == 0


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_no_uint32_is_refused(seed):
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\*\*32\)"):
        Request(PROMPTS[0], SAMPLING, seed)
