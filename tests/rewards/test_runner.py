# SPDX-License-Identifier: Apache-2.0
"""A reward function may raise, hang or return nonsense: it costs that sample and nothing else, and never scores 0."""

import pathlib
import sys
import time

import numpy as np
import pytest

from ntl_jax.rewards import RewardFunction, RewardOutcome

FILE = '''
import asyncio, decimal, fractions, math, sys, threading, time
import numpy as np

started = []
released = threading.Event()

def score(solution_str, **kwargs):
    """Does what the response says."""
    started.append(solution_str)
    match solution_str.split():
        case ["number", value]: return float(value)
        case ["raise"]: raise KeyError("no such answer")
        case ["exit"]: sys.exit(3)
        case ["cancel"]: raise asyncio.CancelledError
        case ["hang"]: released.wait(30); return 1.0
        case ["return", expression]: return eval(expression)

async def later(solution_str, **kwargs):
    if solution_str == "hang":
        await asyncio.sleep(30)
    if solution_str == "block":
        released.wait(30)
    await asyncio.sleep(0.05)
    return score(solution_str)
'''


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    (tmp_path / "reward.py").write_text(FILE)
    return str(tmp_path / "reward.py")


def run(path: str, *responses: str, name: str = "score", timeout_s: float = 30.0) -> list[RewardOutcome]:
    reward = RewardFunction(f"{path}:{name}", timeout_s=timeout_s)
    return reward([{"data_source": "", "solution_str": r, "ground_truth": "1", "extra_info": {}} for r in responses])


def test_scores_come_back_in_order_and_are_never_truncated(path):
    outcomes = run(path, *(f"number {i / 7}" for i in range(100)))
    scores = np.array([o.score for o in outcomes])
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, (np.arange(100) / 7).astype(np.float32))
    assert all(o.valid and o.error is None for o in outcomes)


@pytest.mark.parametrize(
    ("expression", "score"),
    [
        ("1", 1.0),
        ("True", 1.0),
        ("np.float64(0.25)", 0.25),
        ("np.array(0.25)", 0.25),
        ("fractions.Fraction(1,4)", 0.25),
        ("decimal.Decimal('0.25')", 0.25),
        ("-3.5", -3.5),
        ("{'score':0.25}", 0.25),
    ],
)
def test_every_kind_of_number_is_a_score(path, expression, score):
    (outcome,) = run(path, f"return {expression}")
    assert outcome == (np.float32(score), True, {}, None)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("None", "type NoneType"),
        ("'1.0'", "type str"),
        ("[1.0]", "type list"),
        ("1j", "type complex"),
        ("math.nan", "not finite"),
        ("-math.inf", "not finite"),
        ("1e300", "not finite in float32"),
        ("10**400", "not finite in float32"),
        ("{}", "without 'score'"),
        ("{'reward':1.0}", "without 'score', but with ['reward']"),
        ("{'score':None}", "type NoneType"),
        ("{'score':math.nan}", "not finite"),
    ],
)
def test_what_is_no_finite_number_drops_the_sample_with_the_reason(path, expression, reason):
    bad, good = run(path, f"return {expression}", "number 1")
    assert not bad.valid
    assert np.isnan(bad.score)
    assert bad.error is not None
    assert reason in bad.error
    assert good.valid


def test_other_numbers_of_a_dict_become_metrics(path):
    result = "{'score':0.5,'length':7,'ok':True,'note':'fine','bad':math.nan,'list':[1],3:4}"
    (outcome,) = run(path, f"return {result}")
    assert outcome.metrics == {"length": 7.0, "ok": 1.0, "3": 4.0}


@pytest.mark.parametrize("name", ["score", "later"])
@pytest.mark.parametrize("what", ["raise", "exit", "cancel"])
def test_a_reward_that_raises_drops_its_sample_and_is_recorded_with_its_traceback(path, name, what):
    before, failed, after = run(path, "number 1", what, "number 2", name=name)
    assert (before.score, after.score) == (1, 2)
    assert not failed.valid
    assert np.isnan(failed.score)
    assert failed.error is not None
    assert "reward.py" in failed.error
    assert {"raise": "no such answer", "exit": "SystemExit: 3", "cancel": "CancelledError"}[what] in failed.error


def test_a_reward_that_hangs_drops_its_sample_and_no_other(path):
    start = time.monotonic()
    outcomes = run(path, "number 1", "hang", "number 2", "hang", "number 3", timeout_s=0.1)
    assert time.monotonic() - start < 10
    assert [o.valid for o in outcomes] == [True, False, True, False, True]
    assert [o.score for o in outcomes if o.valid] == [1, 2, 3]
    assert outcomes[1].error == "no result after 0.1 s"


def test_a_call_that_was_given_up_makes_no_further_calls(path):
    reward = RewardFunction(f"{path}:score", timeout_s=0.1)
    call = {"data_source": "", "ground_truth": "1", "extra_info": {}}
    reward([call | {"solution_str": text} for text in ("hang", "number 1")])
    module = sys.modules["reward_file_reward"]
    module.released.set()
    time.sleep(0.1)
    assert module.started == ["hang", "number 1"]


def test_coroutines_run_together(path):
    start = time.monotonic()
    outcomes = run(path, *(f"number {i}" for i in range(200)), name="later")
    assert time.monotonic() - start < 5  # one after the other they would take 10 s
    assert [o.score for o in outcomes] == list(range(200))


def test_a_coroutine_that_hangs_drops_its_sample_and_no_other(path):
    outcomes = run(path, "number 1", "hang", "number 2", name="later", timeout_s=0.3)
    assert [o.valid for o in outcomes] == [True, False, True]
    assert outcomes[1].error == "no result after 0.3 s"


def test_a_coroutine_that_blocks_its_loop_does_not_block_the_run(path):
    outcomes = run(path, "block", "number 1", name="later", timeout_s=0.1)
    assert [o.valid for o in outcomes] == [False, False]


def test_keywords_that_the_function_does_not_take_are_left_out(tmp_path):
    (tmp_path / "verl.py").write_text("def f(data_source, solution_str, ground_truth, extra_info):\n    return 1\n")
    names = ("data_source", "solution_str", "ground_truth", "extra_info", "ntl_info", "tau")
    (outcome,) = RewardFunction(f"{tmp_path / 'verl.py'}:f")([{name: None for name in names}])
    assert outcome.score == 1


def test_an_empty_batch_has_no_outcomes(path):
    assert run(path) == []


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_time_limit_out_of_range_is_refused(path, timeout_s):
    with pytest.raises(ValueError, match="timeout_s"):
        run(path, timeout_s=timeout_s)


def test_calls_cost_next_to_nothing(path):
    start = time.process_time()
    outcomes = run(path, *(["number 1"] * 2000))
    assert time.process_time() - start < 2
    assert len(outcomes) == 2000
