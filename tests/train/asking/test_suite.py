# SPDX-License-Identifier: Apache-2.0
"""What is measured of responses to the suite, and the rows of its table."""

import dataclasses

import pytest

from ntl_jax.config import AnswerSection, PromptSection, RewardSection, RunConfig
from ntl_jax.tasks import JudgedTask, NumericSuite, Part, TwoSources
from ntl_jax.train.asking.suite import measure, report, suite_settings, suite_task
from ntl_jax.train.evaluation import Evaluation
from tests.samples import ask, make_scorer, respond

PARTS = (
    Part("small", "words", "+", (0, 10), "interpolation", ()),
    Part("large", "words", "+", (10, 100), "extrapolation", ()),
)


def scored(texts, truths, samples=1):
    asked = [dataclasses.replace(ask(i, truth), source_index=i // 2) for i, truth in enumerate(truths)]
    prompts = [prompt for prompt in asked for _ in range(samples)]
    return make_scorer()(prompts, list(map(respond, prompts, texts)), tau=1.0)


def measured(*texts, truths=("4", "20", "50"), sampled=None):
    """Of responses to two small problems and a large one."""
    more = None if sampled is None else scored(sampled, truths, samples=len(sampled) // 3)
    return measure(Evaluation(scored(texts, truths), more))


def test_rows_are_all_problems_the_reaches_and_the_parts(capsys):
    rows = report(PARTS, measured("4", "25", "none"))
    assert [row["name"] for row in rows] == ["all", "interpolation", "extrapolation", "small", "large"]
    assert [row["problems"] for row in rows] == [3, 2, 1, 2, 1]
    assert rows[1]["metrics"]["exact_match"] == 0.5 and rows[1]["metrics"]["median_relative_error"] == 0.125
    assert rows[4]["metrics"]["median_relative_error"] is None  # infinite: JSON has no such number
    assert rows[3]["operation"] == "+" and rows[3]["numbers"] == (0, 10) and "operation" not in rows[0]
    assert "extrapolation" in capsys.readouterr().out


def test_samples_have_their_shares_and_pass_at_k():
    """Of two samples a problem, the first problem has one right, the second both, the third none."""
    metrics = report(PARTS, measured("4", "20", "50", sampled=["4", "5", "20", "20", "1", "2"]))[0]["metrics"]
    assert metrics["mean@2"] == pytest.approx(0.5) and metrics["pass@2"] == pytest.approx(2 / 3)


def test_a_policy_is_compared_with_another_on_the_problems_that_both_were_asked(capsys):
    first, second = measured("4", "20", "50"), measured("4", "21", "50")
    second = second._replace(
        problems=second.problems[1:], measures={name: column[1:] for name, column in second.measures.items()}
    )
    rows = report(PARTS, first, second)
    assert [row["problems"] for row in rows] == [2, 1, 1, 1, 1]
    assert rows[0]["difference"]["exact_match"] == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert rows[0]["against"]["exact_match"] == 0.5 and rows[1]["difference"]["exact_match"]["value"] == 1
    assert "+0.500 [+0.000, +1.000]" in capsys.readouterr().out


def test_policies_without_a_common_problem_are_told():
    first = measured("4", "20", "50")
    with pytest.raises(ValueError, match="no problem in common: raise --max-prompt-tokens"):
        report(PARTS, first, first._replace(problems=[(7, i) for i in range(3)]))


def test_a_number_that_is_too_long_to_compute_with_is_right_or_wrong_and_no_more():
    long = "7" * 4500
    metrics = report(PARTS, measured("4", "20", long, truths=("4", "20", long)))[-1]["metrics"]
    assert metrics == {"answered": 1, "exact_match": 1}


def test_the_settings_leave_rewards_and_limits_of_the_run_out():
    config = RunConfig(reward=RewardSection(function="mine.py:score"))
    settings = suite_settings(config)
    assert settings.reward == RewardSection() and settings.trainer.eval_problems is None
    assert settings.data.on_long_row == "skip" and settings.rollout == config.rollout


def test_answers_and_examples_are_as_the_settings_say():
    suite, config = NumericSuite(1, generators=()), RunConfig()
    assert suite_task(suite, config) is suite
    judged = suite_task(suite, dataclasses.replace(config, answer=AnswerSection(form="box")))
    assert isinstance(judged, JudgedTask) and judged.is_correct(judged.answer_of("\\boxed{4} 5"), "4")
    shown = suite_task(suite, dataclasses.replace(config, prompt=PromptSection(few_shot=2)))
    assert isinstance(shown, TwoSources) and shown.load("train")[0][0].data_source == "generated"
    assert shown.load("held_out") == suite.load("held_out")
