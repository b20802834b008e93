# SPDX-License-Identifier: Apache-2.0
"""Rewards for the value of the answer give the numbers of their formulas, 1 for right answers and 0 for none."""

import math

import pytest

from ntl_jax.config import NTLSection, RewardSection
from ntl_jax.numerals import find_answer
from ntl_jax.rewards import (
    EXTRAS,
    JUDGED,
    RewardFunction,
    absolute_closeness,
    leading_digits,
    log_closeness,
    relative_closeness,
)
from tests.samples import ask, make_scorer, respond

ALL = (absolute_closeness, relative_closeness, log_closeness, leading_digits)
WITH_TAU = ALL[:3]
HUGE = 10**3999


@pytest.mark.parametrize(
    ("reward", "answer", "truth", "tau", "expected"),
    [
        (absolute_closeness, "70", "72", 1.0, math.exp(-2)),
        (absolute_closeness, "70", "72", 4.0, math.exp(-0.5)),
        (absolute_closeness, "-1", "1", 1.0, math.exp(-2)),
        (absolute_closeness, "1.5", "1", 1.0, math.exp(-0.5)),
        (relative_closeness, "54", "72", 1.0, math.exp(-0.25)),
        (relative_closeness, "54", "72", 0.25, math.exp(-1)),
        (relative_closeness, "3", "0", 1.0, 0),
        (relative_closeness, "-72", "72", 1.0, math.exp(-2)),
        (log_closeness, "18", "72", 1.0, 0.25),
        (log_closeness, "288", "72", 1.0, 0.25),
        (log_closeness, "288", "72", 2.0, 0.5),
        (log_closeness, "-72", "72", 1.0, 0),
        (log_closeness, "0", "72", 1.0, 0),
        (log_closeness, "3", "0", 1.0, 0),
    ],
)
def test_a_near_answer_gets_what_its_formula_says(reward, answer, truth, tau, expected):
    assert reward("mine", f"#### {answer}", truth, tau=tau)["score"] == pytest.approx(expected)


@pytest.mark.parametrize(("answer", "expected"), [("1299", 0.5), ("9272", 0), ("12720", 0), ("1272.5", 0.8)])
def test_leading_digits_are_counted_up_to_the_first_wrong_one(answer, expected):
    assert leading_digits("mine", f"#### {answer}", "1,272")["score"] == pytest.approx(expected)


@pytest.mark.parametrize("reward", ALL)
@pytest.mark.parametrize("truth", ["72", "-0.5", "0", "1/3", str(HUGE)])
def test_a_right_answer_gets_1(reward, truth):
    assert reward("mine", f"#### {truth}", truth) == {"score": 1, "exact_match": 1, "closeness": 1}


@pytest.mark.parametrize("reward", ALL)
def test_a_response_without_a_number_gets_0(reward):
    for response in ("no idea", "", "#### 3:30", "#### Paris"):
        assert reward("mine", response, "72")["score"] == 0
    assert reward("mine", "#### 72", "72", answer=None, correct=False)["score"] == 0  # the task found no answer


@pytest.mark.parametrize("reward", ALL)
def test_a_true_answer_that_is_no_number_is_right_or_wrong(reward):
    assert reward("mine", "#### Paris", "Paris")["score"] == 1
    assert reward("mine", "#### 7", "Paris")["score"] == 0


@pytest.mark.parametrize("reward", ALL)
def test_what_the_task_finds_right_is_right_and_what_it_reads_is_the_answer(reward):
    assert reward("mine", "#### 71", "72", correct=True)["score"] == 1
    assert reward("mine", "7 of 72", "72", answer=find_answer("72"), correct=False)["score"] == 1
    assert reward("mine", "#### 72", "72", answer=find_answer("7"), correct=False)["score"] < 0.5


@pytest.mark.parametrize("reward", ALL)
def test_rewards_lie_between_0_and_1_however_far_the_answer_is(reward):
    numbers = ["0", "1", "-1", "1e-300", "71.999999999999", "73", "9" * 30, str(HUGE), f"-{HUGE}", f"1/{HUGE}"]
    for answer in numbers:
        for truth in numbers:
            score = reward("mine", f"#### {answer}", truth)["score"]
            assert 0 <= score <= 1 and (score == 1) == (answer == truth)


@pytest.mark.parametrize("reward", WITH_TAU)
@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(reward, tau):
    with pytest.raises(ValueError, match=r"tau=.* must be a finite number above 0"):
        reward("mine", "#### 72", "72", tau=tau)


@pytest.mark.parametrize("reward", ALL)
@pytest.mark.parametrize("offered", [EXTRAS, JUDGED])
def test_a_run_can_name_the_reward_with_ntl_and_without(reward, offered):
    name = f"ntl_jax.rewards:{reward.__name__}"
    call = {"data_source": "mine", "solution_str": "#### 71", "ground_truth": "72", "extra_info": {}}
    (outcome,) = RewardFunction(name, offered=offered)([call | {"answer": find_answer("71"), "correct": False}])
    assert outcome.valid and outcome.metrics.keys() == {"exact_match", "closeness"}


def test_the_runs_temperature_is_the_rewards():
    scorer = make_scorer(RewardSection(function="ntl_jax.rewards:absolute_closeness"), temperature=5.0)
    prompt = ask(truth="7")
    scored = scorer([prompt], [respond(prompt, "#### 2")], tau=NTLSection(temperature=5.0).temperature)
    assert scored.scores == pytest.approx([math.exp(-1)])
