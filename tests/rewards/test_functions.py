# SPDX-License-Identifier: Apache-2.0
"""The package's own rewards give the numbers of their formulas."""

import dataclasses
import math

import numpy as np
import pytest

from ntl_jax.experience.digits.ntl_info import blank_labels, build_ntl_info
from ntl_jax.numerals import find_answer
from ntl_jax.records import NTLInfo
from ntl_jax.rewards import (
    RewardFunction,
    compute_full_ntl_reward,
    compute_ntl_bonus_all,
    compute_score,
    compute_score_ntl_enhanced,
    exact_match,
    ntl_gated_reward,
    ntl_reward,
)


def info_with_loss(ntl_loss: float) -> NTLInfo:
    info = build_ntl_info([np.full((3, 10), -3.0, np.float32)], [blank_labels(3)], [""])
    return dataclasses.replace(info, ntl_loss=np.array([ntl_loss], np.float32))


@pytest.mark.parametrize(
    ("response", "ntl_loss", "tau", "expected"),
    [
        ("#### 72", 0.0, 1.0, 1.0),
        ("#### 72", 0.11, 1.0, 0.5 + 0.5 * 0.895834),
        ("#### 71", 0.5, 1.0, 0.5 * 0.606531),
        ("#### 71", 0.5, 2.0, 0.5 * 0.778801),
        ("#### 71", 81.0, 1.0, 0.0),
        ("no idea", math.inf, 1.0, 0.0),
        ("#### 72", math.inf, 1.0, 0.5),
    ],
)
def test_ntl_reward_is_half_exact_match_half_closeness(response, ntl_loss, tau, expected):
    result = ntl_reward("gsm8k", response, "72", ntl_info=info_with_loss(ntl_loss), tau=tau)
    assert result["score"] == pytest.approx(expected, abs=1e-6)
    assert result["exact_match"] == float("72" in response)


@pytest.mark.parametrize("reward", [ntl_reward, ntl_gated_reward])
@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(reward, tau):
    with pytest.raises(ValueError, match=r"tau=.* must be a finite number above 0"):
        reward("gsm8k", "#### 72", "72", ntl_info=info_with_loss(1.0), tau=tau)


def test_both_rewards_take_the_trainers_call():
    call = {"data_source": "gsm8k", "solution_str": "#### 72", "ground_truth": "72", "extra_info": {"index": 3}}
    full = call | {"ntl_info": info_with_loss(0.0), "tau": 1.0}
    (outcome,) = RewardFunction("ntl_jax.rewards:ntl_reward")([full])
    assert outcome.score == 1
    assert outcome.metrics == {"exact_match": 1.0, "closeness": 1.0}
    (outcome,) = RewardFunction("ntl_jax.rewards:exact_match", offered=())([call])
    assert outcome.score == 1
    assert exact_match(**full) == 1


@pytest.mark.parametrize(
    ("response", "ntl_loss", "tau", "expected"),
    [("#### 72", 0.5, 1.0, 0.606531), ("#### 72", 0.5, 0.5, 0.367879), ("#### 71", 0.0, 1.0, 0.0)],
)
def test_the_gated_reward_gives_nothing_for_a_wrong_answer(response, ntl_loss, tau, expected):
    result = ntl_gated_reward("gsm8k", response, "72", ntl_info=info_with_loss(ntl_loss), tau=tau)
    assert result["score"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("ntl_loss", "expected"), [(0.0, 1.0), (0.11, 0.895834), (math.inf, 0.0)])
def test_the_full_reward_is_the_closeness_whatever_the_answer(ntl_loss, expected):
    info = info_with_loss(ntl_loss)
    assert compute_full_ntl_reward("gsm8k", "#### 71", "72", ntl_info=info) == pytest.approx(expected, abs=1e-6)


def test_rewards_use_the_judgment_that_the_call_brings_and_read_the_text_without_one():
    info = info_with_loss(0.0)
    assert ntl_reward("mine", "it is C", "C", ntl_info=info, correct=True)["exact_match"] == 1
    assert ntl_gated_reward("mine", "#### 72", "72", ntl_info=info, correct=False)["score"] == 0
    assert compute_score("mine", "#### 72", "72", correct=False)["score"] == 0
    answered, silent = ({"ntl_info": info, "correct": True, "answer": x} for x in (find_answer("#### 72"), None))
    for bonus in (compute_ntl_bonus_all, compute_score_ntl_enhanced):
        read = bonus("gsm8k", "#### 72", "72", ntl_info=info)
        assert bonus("gsm8k", "#### 72", "72", **answered) == read
    assert compute_ntl_bonus_all("gsm8k", "#### 72", "72", **silent) == 0
