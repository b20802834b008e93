# SPDX-License-Identifier: Apache-2.0
"""From trajectories to rewards: what becomes the NTL record, what reaches the reward function, what is left without."""

import contextlib
import dataclasses
import logging
import re
import textwrap
from typing import Any

import numpy as np
import pytest

from ntl_jax.config import NTLSection, RewardSection
from ntl_jax.experience.digits.ntl_info import CONFIDENCE
from ntl_jax.experience.scorer import ExtractionError, reward_temperature
from ntl_jax.records import NumberReadings
from tests.samples import ask, lose, make_scorer, respond

TEXTS = ["2+3=5 #### 5", "#### 7", "5 apples", "no idea", "#### 15"]
PROMPT = ask()
PROMPTS = [PROMPT] * len(TEXTS)
TRAJECTORIES = [respond(PROMPT, text, i) for i, text in enumerate(TEXTS)]
ONLY_CAPTURE: dict[str, Any] = {"extract_during_log_prob": False}


def without_capture(*rows: int):
    """The same responses from an engine that captured no digits in these rows."""
    return [dataclasses.replace(t, digit_log_probs=None) if i in rows else t for i, t in enumerate(TRAJECTORIES)]


def score(trajectories=TRAJECTORIES, reward: RewardSection | None = None, tau: float = 1.0, **ntl):
    return make_scorer(reward, **ntl)(PROMPTS, trajectories, tau)


def with_function(path, source: str) -> RewardSection:
    """The reward function `score` of this source."""
    path.write_text(textwrap.dedent(source))
    return RewardSection(function=f"{path}:score")


@pytest.mark.parametrize("method", ["mse", "wasserstein"])
def test_the_record_holds_what_was_captured_at_the_digits(method):
    scored = score(method=method)
    info = scored.ntl_info
    assert info is not None and info.method == method and not scored.fallbacks
    assert info.total_digits.tolist() == [4, 1, 1, 0, 2]
    for row, (trajectory, positions) in enumerate(zip(TRAJECTORIES, info.digit_positions, strict=True)):
        assert info.digit_log_probs is not None and trajectory.digit_log_probs is not None
        np.testing.assert_array_equal(info.digit_log_probs[row, positions], trajectory.digit_log_probs[positions])
        selected = info.digit_log_probs_selected[row, positions]
        np.testing.assert_array_equal(selected, trajectory.rollout_log_probs[positions])


def test_readings_of_the_trainers_pass_take_the_place_of_captured_digits():
    """Losses of 4.5 are read off everywhere; the answer 15 has one digit with a truth and one that is surplus."""
    rows = [
        NumberReadings(*(np.full(len(t.response_ids), x, np.float32) for x in (4.5, 6, 0.5, 0.25)))
        for t in TRAJECTORIES
    ]
    read = [dataclasses.replace(t, number_readings=x) for t, x in zip(without_capture(*range(5)), rows, strict=True)]
    info = score(read, method="wasserstein").ntl_info
    assert info is not None and info.digit_log_probs is None
    np.testing.assert_allclose(info.ntl_loss, [4.5, 4.5, 4.5, np.inf, (4.5 + 9) / 2])
    assert info.probability_quality.tolist() == [0.25, 0.25, 0.25, 0, 0.25]


def test_without_any_source_of_digits_the_record_holds_the_confidence():
    sampled = without_capture(*range(5))
    scored = score(sampled, extract_during_generation=False, **ONLY_CAPTURE)
    assert scored.ntl_info is not None and scored.ntl_info.method == CONFIDENCE
    for row, (trajectory, positions) in enumerate(zip(sampled, scored.ntl_info.digit_positions, strict=True)):
        has_answer = scored.readings[row].answer is not None
        expected = -trajectory.rollout_log_probs[positions].mean() if has_answer else np.inf
        assert scored.ntl_info.ntl_loss[row] == pytest.approx(expected, rel=1e-5)
    assert scored.valid.all() and not scored.fallbacks


def test_a_sample_without_a_record_is_scored_by_exact_match_counted_and_logged(caplog):
    with caplog.at_level(logging.WARNING, "ntl"):
        scored = score(without_capture(0, 4), **ONLY_CAPTURE)
    assert scored.fallbacks.keys() == {0, 4}
    assert "2 of 5 samples are scored by exact match: the engine captured no log-probs" in caplog.text
    assert scored.scores[[0, 4]].tolist() == [1, 0]
    assert scored.ntl_info is not None and scored.ntl_info.total_digits[[0, 4]].tolist() == [0, 0]
    assert scored.scores[1:4].tolist() == score(**ONLY_CAPTURE).scores[1:4].tolist()
    assert 0 < scored.scores[1] < 1


def test_log_probs_that_are_nan_at_a_digit_are_no_record():
    broken = list(TRAJECTORIES)
    for row in (1, 3):  # "no idea" holds no digit, so that nothing of it is missing
        broken[row] = dataclasses.replace(
            broken[row], digit_log_probs=np.full_like(broken[row].digit_log_probs, np.nan)
        )
    scored = score(broken)
    assert scored.fallbacks == {1: "the log-probs at its digits are NaN"}
    assert np.isfinite(scored.scores).all() and scored.valid.all()


def test_with_fallbacks_off_a_sample_without_a_record_raises():
    with pytest.raises(ExtractionError, match=r"1 of 5 samples .*captured no log-probs .*fallback_on_error=true"):
        score(without_capture(3), fallback_on_error=False, **ONLY_CAPTURE)


def test_required_digits_make_a_response_without_any_a_failure():
    assert score(require_digits=True).fallbacks == {3: "the response holds no digit"}
    with pytest.raises(ExtractionError, match=r"holds no digit \(prompt 0, sample 3\)"):
        score(require_digits=True, fallback_on_error=False)


def test_without_ntl_there_is_no_record_and_the_reward_is_exact_match():
    scored = score(without_capture(*range(5)), enabled=False)
    assert scored.ntl_info is None and not scored.fallbacks
    assert scored.scores.tolist() == scored.exact_match.astype(float).tolist() == [1, 0, 1, 0, 0]


@pytest.fixture
def echo(tmp_path):
    """A reward function that returns what it was called with as metrics."""
    return with_function(
        tmp_path / "echo.py",
        """
        def score(data_source, solution_str, ground_truth, extra_info, **kwargs):
            numbers = {k: v for k, v in kwargs.items() if isinstance(v, (int, float))}
            rows = {"rows": kwargs["ntl_info"].batch_size} if "ntl_info" in kwargs else {}
            return {"score": 1.0, "extras": len(kwargs), **rows, **numbers}
        """,
    )


def test_the_reward_function_gets_its_row_of_the_record_temperature_judgment_and_bonus_settings(echo):
    reward = dataclasses.replace(echo, use_ntl_bonus=False, ntl_bonus_weight=0.25)
    settings = {"extras": 7, "rows": 1, "tau": 2.0, "use_ntl_bonus": 0.0, "ntl_bonus_weight": 0.25}
    metrics = [outcome.metrics for outcome in score(reward=reward, tau=2.0).outcomes]
    assert metrics == [settings | {"correct": x} for x in (1, 0, 1, 0, 0)]


def test_without_passing_it_on_no_record_reaches_the_reward_function(echo):
    scored = score(reward=echo, pass_to_reward_function=False)
    assert scored.outcomes[0].metrics == {"extras": 2, "correct": 1.0}
    assert scored.ntl_info is not None
    assert make_scorer(pass_to_reward_function=False).reward.spec.endswith(":exact_match")
    with pytest.raises(ValueError, match="ntl_info"):
        make_scorer(RewardSection(function="ntl_jax.rewards:ntl_reward"), pass_to_reward_function=False)


def test_with_a_bonus_of_weight_zero_the_reward_is_that_without_ntl():
    reward = RewardSection(function="ntl_jax.rewards:compute_score", ntl_bonus_weight=0.0)
    assert score(reward=reward).scores.tolist() == score(enabled=False).scores.tolist()


def test_a_reward_that_fails_is_no_score_and_is_reported_with_its_prompt(tmp_path):
    reward = with_function(
        tmp_path / "reward.py",
        """
        def score(data_source, solution_str, ground_truth, extra_info):
            if "apples" in solution_str:
                raise RuntimeError("no reward for apples")
            return 0.9
        """,
    )
    scored = score(reward=reward)
    assert scored.valid.tolist() == [True, True, False, True, True]
    np.testing.assert_allclose(scored.scores, [0.9, 0.9, 0, 0.9, 0.9])
    ((prompt, error),) = scored.reward_errors
    assert prompt == PROMPT.index and "no reward for apples" in error


COUNTED = """
calls = []
def score(data_source, solution_str, ground_truth, extra_info):
    calls.append(solution_str)
    return len(calls)
"""


def test_a_lost_response_fails_without_a_call_of_the_reward_function_and_is_reported(tmp_path):
    """The others have the scores that they would have without it."""
    reward = with_function(tmp_path / "reward.py", COUNTED)
    scored = score([TRAJECTORIES[0], lose(PROMPT, 1), *TRAJECTORIES[2:]], reward=reward)
    assert scored.valid.tolist() == [True, False, True, True, True]
    assert scored.scores.tolist() == [1, 0, 2, 3, 4] and not scored.exact_match[1]
    ((prompt, error),) = scored.reward_errors
    assert prompt == PROMPT.index and "the workers that sampled it died" in error


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"enabled": False},
        {"require_digits": True, "fallback_on_error": False},
        {"extract_during_generation": False, **ONLY_CAPTURE},
    ],
    ids=["NTL", "no NTL", "digits required", "confidence"],
)
def test_a_lost_response_is_no_missing_record_whatever_the_settings(settings):
    """Also where the engine was not asked for digits."""
    sampled = [lose(PROMPT, 0, digits="extract_during_generation" not in settings), *TRAJECTORIES[1:3]]
    scored = make_scorer(**settings)([PROMPT] * 3, sampled, 1.0)
    assert scored.valid.tolist() == [False, True, True] and not scored.fallbacks
    if scored.ntl_info is not None:
        assert scored.ntl_info.total_digits.tolist() == [0, 1, 1]


def test_scores_of_lost_responses_alone_are_all_missing():
    scored = score([lose(PROMPT, i) for i in range(5)])
    assert not scored.valid.any() and len(scored.reward_errors) == 5


def test_a_function_in_batch_form_is_called_once_for_the_samples_of_a_draw_that_have_a_record(tmp_path):
    reward = with_function(
        tmp_path / "batch.py",
        """
        def score(solution_strs, *, ntl_infos, answers, tau, **kwargs):
            assert len(solution_strs) == len(ntl_infos) == len(answers) and tau == 0.5
            scores = range(10 * len(solution_strs), 10 * len(solution_strs) + len(solution_strs))
            return [{"score": score, "digits": info["total_digits"]} for score, info in zip(scores, ntl_infos)]
        """,
    )
    first, second = ask(draw=3), ask(draw=8)
    rows = [respond(first, text, i) for i, text in enumerate(("#### 5", "#### 15", "none", "#### 7"))]
    rows[1] = dataclasses.replace(rows[1], digit_log_probs=None)
    scored = make_scorer(reward, **ONLY_CAPTURE)([first] * 4 + [second], [*rows, respond(second, "5")], 0.5)
    assert scored.scores.tolist() == [30, 0, 31, 32, 10] and scored.fallbacks.keys() == {1}
    assert [outcome.metrics.get("digits") for outcome in scored.outcomes] == [1, None, 0, 1, 1]


def test_what_a_reward_function_changes_in_extra_info_stays_its_own(tmp_path):
    reward = with_function(
        tmp_path / "reward.py",
        """
        def score(data_source, solution_str, ground_truth, extra_info):
            extra_info["seen"] = extra_info.get("seen", 0) + 1
            return extra_info["seen"]
        """,
    )
    assert score(reward=reward).scores.tolist() == [1] * 5
    assert PROMPT.extra_info == {}


@pytest.mark.parametrize(
    ("settings", "taus"),
    [
        ({}, [1, 1, 1]),
        ({"temperature": 0.5}, [0.5, 0.5, 0.5]),
        ({"adaptive_temperature": True, "temperature_schedule": "linear:2.0->1.0@10"}, [2, 1.5, 1]),
        ({"adaptive_temperature": True, "temperature_schedule": "constant", "temperature": 3.0}, [3, 3, 3]),
        ({"temperature_schedule": "linear:2.0->1.0@10"}, [1, 1, 1]),
    ],
    ids=str,
)
def test_the_rewards_temperature_follows_its_schedule_where_it_is_adaptive(settings, taus):
    assert [reward_temperature(NTLSection(**settings), iteration) for iteration in (0, 5, 99)] == taus


def test_the_temperature_of_a_call_reaches_the_reward():
    low, high = score(tau=0.5), score(tau=50.0)
    assert (low.tau, high.tau) == (0.5, 50.0)
    assert low.scores[1] < high.scores[1] < 1


def test_a_trial_call_has_the_arguments_of_a_run_and_names_what_is_wrong(tmp_path):
    source = """
        def score(solution_str, ntl_info, correct, tau, **kwargs):
            assert len(ntl_info["digit_log_probs"][0]) == 10 and correct and tau == 1.0
            return 1.0 if kwargs["ground_truth"] == "5" else {}
        """
    scorer = make_scorer(with_function(tmp_path / "reward.py", source))
    for truth, complaint in (("5", None), ("7", r"reference solution of problem 3 returned no score: a dict without")):
        prompt = ask(3, truth)
        solution = respond(prompt, f"2+3={truth} #### {truth}").response_ids
        if complaint is None:
            scorer.try_out(prompt, solution)
        else:
            with pytest.raises(ValueError, match=complaint):
                scorer.try_out(prompt, solution)
    scorer.close()


def test_a_sample_whose_reward_lacks_a_key_that_is_needed_has_no_reward(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def score(solution_str, **_):\n    return {'score': 1, 'near': 1 if '5' in solution_str else None}\n"
    )
    prompts = [ask(0), ask(1)]
    with contextlib.closing(make_scorer(RewardSection(function=f"{file}:score"), keys=("score", "near"))) as scorer:
        scored = scorer(prompts, [respond(prompts[0], "#### 5"), respond(prompts[1], "#### 6")], tau=1.0)
    assert scored.valid.tolist() == [True, False]
    ((index, why),) = scored.reward_errors
    assert index == 1
    assert why == "no finite number under 'near', which algorithm.gdpo_reward_keys names; there are score"


@pytest.mark.parametrize(
    ("name", "keys", "missing", "there"),
    [
        ("exact_match", ("exact_match", "closeness"), "'exact_match'", "score"),
        ("log_closeness", ("exact_match", "near"), "'near'", "score, exact_match, closeness"),
    ],
)
def test_a_trial_call_asks_a_function_of_the_package_too_where_keys_are_needed(name, keys, missing, there):
    prompt, function = ask(), f"ntl_jax.rewards:{name}"
    solution = respond(prompt, "#### 5").response_ids
    make_scorer(RewardSection(function="ntl_jax.rewards:log_closeness"), keys=("score", "closeness")).try_out(
        prompt, solution
    )
    named = f"no finite number under {missing}, which algorithm.gdpo_reward_keys names; there are {there}"
    with pytest.raises(ValueError, match=f"{re.escape(named)}$"):
        make_scorer(RewardSection(function=function), keys=keys).try_out(prompt, solution)
