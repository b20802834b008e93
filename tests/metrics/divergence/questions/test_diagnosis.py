# SPDX-License-Identifier: Apache-2.0
"""The diagnosis: each rule on both sides of its bound, with the log's own figures."""

from typing import Any

import pytest

from ntl_jax.metrics.divergence.questions.counts import Counts, Side, count
from ntl_jax.metrics.divergence.questions.diagnosis import diagnose
from ntl_jax.metrics.divergence.questions.token import read_token
from ntl_jax.metrics.divergence.questions.welch import Welch, digits_against_others
from tests.divergence_lines import lines


def found(tokens: int = 100, **counts: Any):
    """Names and texts of the findings."""
    return {finding.name: finding.text for finding in diagnose(Counts(tokens, **counts))}


def answers(right: int, wrong: int) -> dict[str, Any]:
    return {"correct": Side(right, 0.8), "incorrect": Side(wrong, 0.8)}


@pytest.mark.parametrize(
    ("right", "wrong", "name"),
    [
        (80, 20, "learns_right_answers"),
        (79, 21, "mostly_right_answers"),
        (71, 29, "mostly_right_answers"),
        (70, 30, "random"),
        (50, 50, "random"),
        (30, 70, "random"),
        (29, 71, "mostly_wrong_answers"),
        (20, 80, "learns_wrong_answers"),
        (9, 0, "few_answers"),
        (0, 0, "few_answers"),
    ],
)
def test_the_side_that_dominates_is_named(right, wrong, name):
    assert list(found(**answers(right, wrong))) == [name]


def test_the_findings_name_the_figures_of_the_log():
    assert found(150, **answers(126, 24)) == {
        "learns_right_answers": "84% of the divergent tokens (126 of 150) are from correct answers: the trainer learns "
        "right answers"
    }
    assert "86% of the divergent tokens (86 of 100)" in found(**answers(14, 86))["learns_wrong_answers"]
    assert "look at the reward" in found(**answers(14, 86))["learns_wrong_answers"]
    assert "55% of the divergent tokens (55 of 100)" in found(**answers(55, 45))["random"]
    assert "45% from incorrect ones: random" in found(**answers(55, 45))["random"]


@pytest.mark.parametrize("tokens", [0, 1, 9])
def test_from_few_tokens_nothing_is_concluded(tokens):
    assert list(found(tokens, **answers(tokens, 0))) == ["few_tokens"]
    assert f"only {tokens} divergent token" in found(tokens)["few_tokens"]


def digits(right: int, wrong: int, others: int = 0, means=(0.8, 0.8)) -> dict[str, Any]:
    side = {"correct_digits": Side(right, means[0]), "incorrect_digits": Side(wrong, means[1])}
    return {"digits": Side(right + wrong, 0.8), "others": Side(others, 0.8), **side}


def about_digits(**counts: Any):
    return [name for name in found(**counts) if name != "few_answers"]


@pytest.mark.parametrize(
    ("counts", "names"),
    [
        (digits(80, 20), ["only_digits_of_right_answers"]),
        (digits(76, 19, 5), ["only_digits_of_right_answers"]),
        (digits(70, 30), ["digits_more_often_in_right_answers"]),
        (digits(29, 71), ["only_digits_of_wrong_answers"]),
        (digits(50, 50), []),
        (digits(45, 30, 25), []),
        (digits(46, 30, 24), ["digits_more_often_in_right_answers"]),
        (digits(30, 30, 40, means=(0.91, 0.6)), ["digits_more_in_right_answers"]),
        (digits(30, 30, 40, means=(0.89, 0.6)), []),
        (digits(60, 0, 40), ["digits_more_often_in_right_answers"]),
        (digits(5, 4, 0), []),
    ],
)
def test_what_digits_do_in_right_answers_is_named(counts, names):
    assert about_digits(**counts) == names


def test_the_factor_of_digits_in_right_answers_is_said():
    text = found(**digits(60, 20, 20))["digits_more_often_in_right_answers"]
    assert text == "digits diverge 3.0 times as often in correct answers (60 against 20): expected in arithmetic"
    assert "diverge only in correct" in found(**digits(60, 0, 40))["digits_more_often_in_right_answers"]


def test_more_tokens_that_are_no_digits_are_unexpected():
    counts: dict[str, Any] = {"digits": Side(40, 0.8), "others": Side(60, 0.8)}
    assert about_digits(**counts) == ["others_more_often"]
    assert "60% of the divergent tokens (60 of 100) are no digits: unexpected" in found(**counts)["others_more_often"]
    assert about_digits(digits=Side(50, 0.8), others=Side(50, 0.8)) == []


@pytest.mark.parametrize(
    ("t", "p", "names"),
    [(-3.0, 0.01, ["others_more"]), (3.0, 0.05, ["digits_more"]), (-1.0, 0.06, [])],
)
def test_a_difference_of_the_means_is_named_if_it_is_no_chance(t, p, names):
    counts: dict[str, Any] = {"digits": Side(60, 0.7), "others": Side(40, 0.9), "welch": Welch(t, 90.0, p)}
    assert about_digits(**counts) == names
    if t == -3.0:
        assert "mean 0.900 against 0.700, Welch's p = 0.01" in found(**counts)["others_more"]


@pytest.mark.parametrize(
    ("fresh", "older", "name"), [(100, 0, "engine"), (0, 100, "older_weights"), (5, 95, "engine_and_older_weights")]
)
def test_the_age_of_the_weights_says_what_the_cause_can_be(fresh, older, name):
    assert name in found(fresh=Side(fresh, 0.7), older=Side(older, 0.9))
    assert not {"engine", "older_weights", "engine_and_older_weights"} & found().keys()


@pytest.mark.parametrize(("first", "second", "grows"), [(5, 10, True), (5, 9, False), (0, 10, True), (0, 9, False)])
def test_divergence_grows_if_the_second_half_has_twice_as_many_iterations_with_lines(first, second, grows):
    assert ("grows" in found(first_half=first, second_half=second)) is grows


def test_log_probs_that_are_not_finite_are_named_first():
    assert next(iter(found(5, not_finite=2))) == "not_finite"


def test_the_twenty_lines_are_diagnosed_as_they_were_made():
    tokens = [read_token(row) for row in lines()]
    findings = diagnose(count(tokens, digits_against_others(tokens)))
    assert [finding.name for finding in findings] == [
        "learns_right_answers", "digits_more_often_in_right_answers", "digits_more", "engine_and_older_weights",
    ]  # fmt: skip
    assert all("\n" not in finding.text for finding in findings)
