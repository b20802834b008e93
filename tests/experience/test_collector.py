# SPDX-License-Identifier: Apache-2.0
"""What an iteration learns from: which prompts are drawn, when others are, and with which seeds the engine is asked."""

import dataclasses
import json
import textwrap
import time

import numpy as np
import pytest

from ntl_jax.config import AlgorithmSection, NTLSection, RewardSection, RolloutSection, RunConfig
from ntl_jax.data import DataCursor
from ntl_jax.experience.collector import STREAM, Collector, Samples
from ntl_jax.experience.digits.source import DigitSource
from ntl_jax.metrics import Clock
from ntl_jax.records import Params, Request, Sampling, Trajectory, Version, Weights
from ntl_jax.rollout.engine import WorkersLostError
from tests.engines import FakeEngine
from tests.samples import ask, make_scorer, respond

NUM_PROMPTS = 6
PROMPTS = [ask(i, str(i + 1)) for i in range(NUM_PROMPTS)]
SAMPLING = Sampling(num_samples=4, max_tokens=12)
# With this seed the second iteration of four prompts spans two epochs and draws one of the six prompts twice.
SEED = next(
    seed
    for seed in range(100)
    for cursor in [DataCursor(NUM_PROMPTS, 4, seed=seed + STREAM)]
    if len(set(cursor.next())) == 4 and len(set(cursor.next())) == 3
)


def answer(request: Request, index: int) -> Trajectory:
    """Every other sample is right."""
    right = request.prompt.ground_truth if index % 2 == 0 else "0"
    return respond(request.prompt, f"#### {right}", index, seed=request.seed)


@pytest.fixture
def make(digits, digit_pass):
    """Makes a collector, and the engine that it asks."""

    def made(
        respond_to=answer,
        *,
        prompts=PROMPTS,
        reward=None,
        ntl=None,
        seed=SEED,
        digits_of=None,
        last_first=True,
        loses_workers_after=None,
        **algorithm,
    ) -> tuple[Collector, FakeEngine]:
        section = NTLSection(**(ntl or {}))
        rollout = RolloutSection(prompts_per_step=4, num_samples=4, max_tokens=12)
        config = RunConfig(algorithm=AlgorithmSection(**algorithm), rollout=rollout, ntl=section, seed=seed)
        engine = FakeEngine(respond_to, last_first=last_first, loses_workers_after=loses_workers_after)
        engine.publish(Weights(Version(0), {}))
        source = digits_of or DigitSource(section, digits, digit_pass, lambda prompts, trajectories: [])
        scorer = make_scorer(reward, **(ntl or {}))
        return Collector(config, prompts, engine, source, scorer, SAMPLING), engine

    return made


def collected(collect: Collector, iteration: int, policy: Params = None, clock: Clock | None = None) -> Samples:
    """The samples of an iteration that begins now."""
    collect.begin(iteration)
    return collect(policy, iteration, clock or Clock())


def reward_of(path, source: str) -> RewardSection:
    path.write_text(textwrap.dedent(source))
    return RewardSection(function=f"{path}:score", workers=1)


def test_every_prompt_has_its_samples_in_order_whatever_order_they_are_finished_in(make):
    collect, _ = make()
    clock = Clock()
    scored, learned, greedy, metrics, _ = collected(collect, 0, clock=clock)
    assert len(scored.trajectories) == 16 and learned.all() and greedy is None and metrics == {}
    assert [t.sample_index for t in scored.trajectories] == [0, 1, 2, 3] * 4
    assert [t.draw for t in scored.trajectories] == [p.draw for p in scored.prompts]
    assert scored.exact_match.tolist() == [True, False] * 8
    assert clock.seconds.keys() == {"gen", "reward"}


def test_equal_prompts_in_an_iteration_have_different_draws(make):
    collect, engine = make()
    first, second = (collected(collect, iteration).scored for iteration in range(2))
    assert [t.draw for t in first.trajectories] == [p.index for p in first.prompts]
    draws = np.array([t.draw for t in second.trajectories]).reshape(4, 4)[:, 0]
    indices = np.array([p.index for p in second.prompts]).reshape(4, 4)[:, 0]
    assert draws.tolist() == [*indices[:2], *(NUM_PROMPTS + indices[2:])]
    assert len(set(indices)) == 3 and len(set(draws)) == 4
    assert [request.prompt.draw for request in engine.submitted[4:]] == draws.tolist()


def test_draws_are_distinct_if_problems_were_left_out(make):
    """Six of ten problems remain: those after a gap keep their indices in every epoch."""
    left = [dataclasses.replace(p, index=i, draw=i) for p, i in zip(PROMPTS, (0, 1, 5, 7, 8, 9), strict=True)]
    collect, engine = make(prompts=left)
    for iteration in range(3):
        collected(collect, iteration)
    draws = [request.prompt.draw for request in engine.submitted]
    assert len(set(draws)) == 12
    assert {draw % 10 for draw in draws} == {0, 1, 5, 7, 8, 9}


def test_seeds_are_of_the_run_the_iteration_and_the_call_and_repeat(make):
    def seeds(seed: int) -> list[int]:
        collect, engine = make(lambda request, i: respond(request.prompt, "no", i), seed=seed, dynamic_sampling=True)
        for iteration in range(2):
            collected(collect, iteration)
        return [request.seed for request in engine.submitted[::4]]

    assert seeds(0) == seeds(0)
    assert len(set(seeds(0) + seeds(1))) == 16  # of two runs, two iterations, and one call with three refills
    first = np.random.SeedSequence([0, STREAM, 1]).generate_state(1)[0]
    assert seeds(0)[4] == first


def test_prompts_are_drawn_on_from_where_a_cursor_stood(make):
    collect, _ = make()
    for iteration in range(2):
        collected(collect, iteration)
    again, _ = make()
    again.cursor.restore(collect.cursor.state())
    found, expected = (collected(x, 2).scored.prompts for x in (again, collect))
    assert [p.draw for p in found] == [p.draw for p in expected]


REPLACED = """
calls = []
def score(data_source, solution_str, ground_truth, extra_info):
    calls.append(solution_str)
    group = (len(calls) - 1) // 4
    if group == 8 and len(calls) % 4 == 0:
        raise RuntimeError("no reward for a sample that is replaced")
    return float(group in {teaching} and len(calls) % 4 == 0)
"""


@pytest.mark.parametrize(
    ("teaching", "found", "calls", "equal"),
    [((5,), 1, 3, 11), ((0, 1, 2, 3), 4, 1, 0), ((1, 2, 4, 7), 4, 2, 4), ((0, 4, 5, 6, 7), 4, 2, 3)],
    ids=["too few", "at once", "after a refill", "more than needed"],
)
def test_prompts_whose_samples_score_the_same_are_replaced_and_else_left_out(
    make, tmp_path, teaching, found, calls, equal
):
    """The reward counts groups of four calls; those in ``teaching`` have a sample that is better."""
    reward = reward_of(tmp_path / "reward.py", REPLACED.format(teaching=teaching))
    collect, engine = make(reward=reward, last_first=False, dynamic_sampling=True, max_refills=2)
    samples = collected(collect, 0)
    assert len(engine.submitted) == 4 * calls
    assert samples.metrics == {"sampling/refills": calls - 1, "sampling/equal_groups": equal}
    assert samples.learned.tolist() == [True] * 4 * found + [False] * 4 * (4 - found)
    assert samples.scored.scores.tolist() == [0, 0, 0, 1] * found + [0] * 4 * (4 - found)
    drawn = [engine.submitted[group].prompt.draw for group in teaching[:4]]
    assert [p.draw for p in samples.scored.prompts[: 4 * found : 4]] == drawn
    assert samples.scored.ntl_info is not None and samples.scored.ntl_info.batch_size == 16


def test_with_several_rewards_samples_teach_if_they_differ_in_any_of_them(make, tmp_path):
    """All scores are the same; in the second group of four calls the key differs."""
    source = """
calls = []


def score(**_):
    calls.append(0)
    return {"score": 0.5, "exact_match": 0, "closeness": float(len(calls) == 8)}
"""
    reward = reward_of(tmp_path / "reward.py", source)
    collect, engine = make(reward=reward, last_first=False, dynamic_sampling=True, max_refills=0, advantage="gdpo")
    samples = collected(collect, 0)
    assert samples.learned.sum() == 4
    assert samples.scored.prompts[0].draw == engine.submitted[1].prompt.draw


def test_the_error_of_a_sample_that_was_replaced_is_still_reported(make, tmp_path):
    reward = reward_of(tmp_path / "reward.py", REPLACED.format(teaching=(5,)))
    collect, engine = make(reward=reward, last_first=False, dynamic_sampling=True, max_refills=2)
    samples = collected(collect, 0)
    ((prompt, error),) = samples.scored.reward_errors
    assert prompt == engine.submitted[8].prompt.index and "no reward for a sample that is replaced" in error
    assert engine.submitted[8].prompt.draw not in [p.draw for p in samples.scored.prompts]
    assert samples.scored.valid.all()


def test_a_sample_without_a_reward_does_not_make_a_group_differ(make, tmp_path):
    reward = reward_of(
        tmp_path / "reward.py",
        """
        def score(data_source, solution_str, ground_truth, extra_info):
            return 1.0 if solution_str.endswith(" 0") else float("nan")
        """,
    )
    samples = collected(make(reward=reward, dynamic_sampling=True, max_refills=0)[0], 0)
    assert not samples.learned.any() and samples.metrics["sampling/equal_groups"] == 4


def test_remax_asks_for_the_greedy_response_to_each_prompt(make):
    def greedy_is_right(request: Request, index: int) -> Trajectory:
        right = request.sampling.temperature == 0 and request.prompt.index % 2
        return respond(request.prompt, f"#### {request.prompt.ground_truth if right else 0}", index)

    collect, engine = make(greedy_is_right, advantage="remax", ntl={"enabled": False})
    samples = collected(collect, 0)
    greedy = dataclasses.replace(SAMPLING, num_samples=1, temperature=0.0)
    assert [request.sampling for request in engine.submitted] == [SAMPLING] * 4 + [greedy] * 4
    assert [r.prompt.draw for r in engine.submitted[:4]] == [r.prompt.draw for r in engine.submitted[4:]]
    assert samples.greedy_scores is not None
    assert samples.greedy_scores.tolist() == [float(p.index % 2) for p in samples.scored.prompts]
    assert samples.learned.all()


def test_a_prompt_whose_greedy_response_has_no_reward_is_not_learned_from(make, tmp_path):
    reward = reward_of(
        tmp_path / "reward.py",
        """
        calls = []
        def score(data_source, solution_str, ground_truth, extra_info):
            calls.append(solution_str)
            return float("nan") if len(calls) == 18 else 1.0
        """,
    )
    samples = collected(make(reward=reward, last_first=False, advantage="remax")[0], 0)
    assert samples.learned.tolist() == [True] * 4 + [False] * 4 + [True] * 8
    ((prompt, _),) = samples.scored.reward_errors
    assert prompt == samples.scored.prompts[4].index


def test_digits_that_were_not_captured_are_filled_in_before_scoring(make, digits, digit_pass, params):
    def nothing_captured(request: Request, index: int) -> Trajectory:
        return respond(request.prompt, f"#### {request.prompt.ground_truth}", index, digits=False)

    samples = collected(make(nothing_captured, ntl={"extract_during_generation": False})[0], 0, params)
    expected = digit_pass.digit_log_probs(params, samples.scored.trajectories, 1.0)
    for trajectory, row in zip(samples.scored.trajectories, expected, strict=True):
        np.testing.assert_array_equal(trajectory.digit_log_probs, row)
    assert not samples.scored.fallbacks


def test_scoring_begins_before_all_groups_have_arrived(make, tmp_path):
    arrived = {}

    def slowly(request: Request, index: int) -> Trajectory:
        arrived[request.prompt.draw] = time.time()
        time.sleep(0.1)
        return answer(request, index)

    source = """
        import time
        def score(data_source, solution_str, ground_truth, extra_info):
            return {"score": 1.0, "called": time.time() - 1.7e9}
        """
    samples = collected(make(slowly, reward=reward_of(tmp_path / "reward.py", source))[0], 0)
    called = min(outcome.metrics["called"] for outcome in samples.scored.outcomes)
    assert called < max(arrived.values()) - 1.7e9


def test_the_rewards_temperature_is_that_of_the_iteration(make):
    ntl = {"adaptive_temperature": True, "temperature_schedule": "linear:2.0->1.0@10"}
    collect, _ = make(ntl=ntl)
    assert [collected(collect, iteration).scored.tau for iteration in (0, 5)] == [2.0, 1.5]


def same(first: Samples, second: Samples) -> bool:
    """Whether two iterations have the same samples, bit for bit and in the same order."""
    a, b = (
        [
            (t.draw, t.sample_index, t.response_ids.tobytes(), t.rollout_log_probs.tobytes())
            for t in x.scored.trajectories
        ]
        for x in (first, second)
    )
    return a == b


def test_iterations_that_begin_ahead_get_the_samples_that_they_get_one_by_one(make):
    (ahead, engine), (one_by_one, _) = make(), make()
    for iteration in range(3):
        ahead.begin(iteration)
    assert len(engine.submitted) == 12 and ahead.begun.keys() == {0, 1, 2}
    for iteration in range(3):
        assert same(ahead({}, iteration, Clock()), collected(one_by_one, iteration))
    assert not ahead.begun and not ahead.arrived()


def test_waiting_samples_everything_that_has_begun_and_keeps_it(make):
    (collect, engine), (other, _) = make(), make()
    for iteration in range(2):
        collect.begin(iteration)
    collect.wait()
    assert engine.unfinished == 0
    draws = {request.prompt.draw for request in engine.submitted}
    assert set(collect.arrived()["draws"].tolist()) == draws and len(collect.arrived()["draws"]) == 32
    for iteration in range(2):
        assert same(collect({}, iteration, Clock()), collected(other, iteration))
    assert len(engine.submitted) == 8 and collect.arrived() == {}


def test_a_position_holds_the_draws_of_begun_iterations_as_json(make):
    collect, engine = make()
    assert collect.position() == {"cursor": collect.cursor.state()}
    collect.begin(0)
    collect.begin(1)
    begun = json.loads(json.dumps(collect.position()))["begun"]
    assert begun == {str(i): [r.prompt.draw for r in engine.submitted[4 * i : 4 * i + 4]] for i in range(2)}


@pytest.mark.parametrize("arrives", [0, 3, 8], ids=["nothing", "a part", "everything"])
def test_a_restored_collector_submits_only_what_has_not_arrived_and_goes_on_as_the_other(make, arrives):
    """Of two iterations that have begun; the second has prompts of two epochs."""
    (collect, engine), (again, asked) = make(), make()
    collect.begin(0)
    collect.begin(1)
    for _ in range(arrives):
        collect._arrived |= {group[0].draw: group for group in engine.step()}
    again.restore(json.loads(json.dumps(collect.position())), collect.arrived())
    assert not asked.submitted and again.begun.keys() == {0, 1}
    again.resubmit()
    assert len(asked.submitted) == 8 - arrives
    assert {(r.prompt.draw, r.seed) for r in asked.submitted} <= {(r.prompt.draw, r.seed) for r in engine.submitted}
    again.resubmit()
    assert len(asked.submitted) == 8 - arrives
    for iteration in range(3):
        if iteration == 2:
            collect.begin(2)
            again.begin(2)
        assert same(again({}, iteration, Clock()), collect({}, iteration, Clock()))


@pytest.mark.parametrize("begun_before", [False, True], ids=["in lockstep", "ahead"])
def test_a_step_that_loses_its_workers_can_be_done_again_from_its_position(make, begun_before):
    """What arrived for iterations that began in that step is left out: their prompts are drawn again."""
    (collect, _), (whole, _) = make(loses_workers_after=6), make()
    if begun_before:
        collect.begin(0)
    position = collect.position()
    for iteration in range(begun_before, 2):
        collect.begin(iteration)
    with pytest.raises(WorkersLostError):
        collect({}, 0, Clock())
    arrived = collect.arrived()
    assert len(arrived["draws"]) == 4 * 6
    again, asked = make()
    again.restore(position, arrived)
    again.resubmit()
    assert len(asked.submitted) == (2 if begun_before else 0)
    for iteration in range(2):
        if iteration not in again.begun:
            again.begin(iteration)
        assert same(again({}, iteration, Clock()), collected(whole, iteration))


def test_greedy_responses_of_a_step_that_loses_its_workers_do_not_pass_for_samples(make):
    """They are of the same draws; here they arrive in part."""
    (collect, _), (whole, _) = (make(advantage="remax", loses_workers_after=n) for n in (6, None))
    collect.begin(0)
    position = collect.position()
    with pytest.raises(WorkersLostError):
        collect({}, 0, Clock())
    again, asked = make(advantage="remax")
    again.restore(position, collect.arrived())
    again.resubmit()
    assert len(asked.submitted) == 4
    assert same(again({}, 0, Clock()), collected(whole, 0))
