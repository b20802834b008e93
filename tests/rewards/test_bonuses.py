# SPDX-License-Identifier: Apache-2.0
"""The rewards that look at digits' probabilities give the numbers of their formulas, worked out by hand."""

import math

import numpy as np
import pytest

from ntl_jax.experience.digits.ntl_info import blank_labels, build_ntl_info
from ntl_jax.numerals import find_answer, label_response
from ntl_jax.rewards import RewardFunction
from tests.rewards.conftest import TEXT


def reward(name: str, info, *, right: bool = False, **kwargs) -> dict[str, float]:
    call = {"data_source": "gsm8k", "solution_str": TEXT, "ground_truth": "73" if right else "172", "extra_info": {}}
    (outcome,) = RewardFunction(f"ntl_jax.rewards:{name}")([call | {"ntl_info": info, "tau": 1.0} | kwargs])
    assert outcome.valid, outcome.error
    return {"score": float(outcome.score), **outcome.metrics}


# All digits with truth: accuracy 2 of 4 places, confidence (0.8 + 0.9 + 0.6) / 3, quality (0.2 + 0.9 + 0.6) / 3.
BONUS_ALL = 0.4 * 0.5 + 0.3 * 2.3 / 3 + 0.3 * 1.7 / 3
BONUS_ANSWER = 0.4 * 2 / 3 + 0.3 * 0.75 + 0.3 * 0.75


@pytest.mark.parametrize(
    ("name", "expected"),
    [("compute_ntl_bonus_all", BONUS_ALL), ("compute_ntl_bonus_final_answer", BONUS_ANSWER)],
)
def test_a_bonus_weighs_accuracy_confidence_and_quality(info, name, expected):
    assert reward(name, info)["score"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0.1 * BONUS_ALL),
        ({"ntl_bonus_type": "final_answer", "ntl_bonus_weight": 0.5}, 0.5 * BONUS_ANSWER),
        ({"use_ntl_bonus": False}, 0.0),
        ({"ntl_info": None}, 0.0),
    ],
)
@pytest.mark.parametrize("right", [False, True])
def test_compute_score_adds_the_weighted_bonus_to_the_exact_match(info, settings, expected, right):
    result = reward("compute_score", info, right=right, **settings)
    assert result["score"] == pytest.approx(right + expected, rel=1e-5)
    assert ("ntl_bonus" in result) == (expected > 0)


def test_the_enhanced_score_weighs_three_parts(info):
    result = reward("compute_score_ntl_enhanced", info, right=True)
    assert result["score"] == pytest.approx(0.6 + 0.25 * 0.5 + 0.15 * 1.7 / 3, rel=1e-5)


@pytest.mark.parametrize("mode", ["final_answer", "all_tokens", "hybrid"])
@pytest.mark.parametrize("response", ["3+4=7\n#### 3:30", "3+4=7\n#### 2 dozen", "3+4=7.\n\\boxed{3n}"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ntl_reward", {"tau": 1e6}),
        ("ntl_gated_reward", {"tau": 1e6}),
        ("compute_full_ntl_reward", {}),
        ("compute_ntl_bonus_all", {}),
        ("compute_ntl_bonus_final_answer", {}),
        ("compute_score", {}),
        ("compute_score", {"ntl_bonus_type": "final_answer"}),
        ("compute_score_ntl_enhanced", {}),
        ("compute_confidence_reward", {}),
        ("compute_high_confidence_reward", {}),
    ],
)
def test_digits_earn_nothing_without_an_answer(name, settings, response, mode):
    digits = np.array([int(c) if c.isdigit() else -1 for c in response])
    sure = np.where(np.arange(10) == digits[:, None], 0.0, -30.0).astype(np.float32)
    label = label_response(response, np.arange(len(response)), digits, "3", answer=find_answer(response), mode=mode)
    info = build_ntl_info([sure], [label], [response])
    assert mode == "final_answer" or info.correct_digits[0] == 1  # the 7 of 3+4=7
    assert reward(name, info, solution_str=response, **settings)["score"] == 0


def confident(log_prob: float):
    """A record of one digit with this log-prob."""
    label = blank_labels(1)._replace(digits=np.array([7]))
    return build_ntl_info([np.full((1, 10), log_prob, np.float32)], [label], ["7"])


def test_confidence_scales_a_right_answer_between_half_and_all():
    info = confident(math.log(0.6))
    assert reward("compute_confidence_reward", info, right=True)["score"] == pytest.approx(0.5 + 0.5 * 0.6, rel=1e-5)
    assert reward("compute_confidence_reward", info)["score"] == 0
    nothing = build_ntl_info([np.zeros((1, 10), np.float32)], [blank_labels(1)], [""])
    assert reward("compute_confidence_reward", nothing, right=True)["score"] == 0.5


@pytest.mark.parametrize(("log_prob", "expected"), [(-0.49, 1.1), (-0.51, 1.0)])
def test_high_confidence_adds_a_tenth_to_a_right_answer(log_prob, expected):
    assert reward("compute_high_confidence_reward", confident(log_prob), right=True)["score"] == pytest.approx(expected)
    assert reward("compute_high_confidence_reward", confident(log_prob))["score"] == 0
