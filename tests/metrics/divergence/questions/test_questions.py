# SPDX-License-Identifier: Apache-2.0
"""The tables of the twenty lines, counted by hand."""

import pytest

from ntl_jax.metrics.divergence.questions.questions import ask, by_iteration, group_by, mean, most_divergent
from ntl_jax.metrics.divergence.questions.token import DivergentToken, read_token
from tests.divergence_lines import lines

TOKENS = [read_token(row) for row in lines()]
COUNTS = {
    # positions 0 to 9 twice; a third of a response of 10 tokens ends before 3.33 and before 6.67
    "by_place": {"beginning": 8, "middle": 6, "end": 6},
    "by_distance_from_start": {"0": 2, "1-3": 6, "4-15": 12},
    "by_distance_from_end": {"0": 2, "1-3": 6, "4-15": 12},
    "by_iteration": {str(i): 2 for i in range(10)},
    # i % 5 == 4: 4, 9, 14, 19
    "by_answer": {"correct": 16, "incorrect": 4},
    # i % 4 == 3: 3, 7, 11, 15, 19
    "by_digit": {"digits": 15, "others": 5},
    "by_digit_and_answer": {
        "digits, correct": 12,
        "digits, incorrect": 3,
        "others, correct": 4,
        "others, incorrect": 1,
    },
    "by_kind": {"digits": 15, "other": 5},
    "by_flip": {"rollout_confident_actor_rejects": 10, "actor_confident_rollout_rejects": 10},
    "by_age": {"age 0": 5, "older": 15},
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_counts_of_a_question_are_those_counted_by_hand(name):
    groups = ask(TOKENS, top=10)[name].groups
    assert [(group.name, group.tokens) for group in groups] == list(COUNTS[name].items())
    assert sum(group.share for group in groups) == pytest.approx(1)


def test_means_and_maxima_are_of_the_divergences_of_a_group():
    flips = ask(TOKENS, top=10)["by_flip"].groups
    assert [(x.mean, x.largest) for x in flips] == [(pytest.approx(0.8), 0.8), (pytest.approx(0.55), 0.6)]
    digits = ask(TOKENS, top=10)["by_digit"].groups[0]
    assert digits.mean == pytest.approx((10 * 0.8 + 3 * 0.6 + 2 * 0.5) / 15)


def test_the_most_frequent_tokens_come_first():
    first, *rest = ask(TOKENS, top=4)["by_token"].groups
    assert (first.name, first.tokens) == ("' apples'", 5)
    assert [group.tokens for group in rest] == [2, 2, 2]


def test_the_most_divergent_tokens_come_first_and_before_them_those_that_are_not_finite():
    tokens = [*TOKENS, DivergentToken(None, 5)]
    top = most_divergent(tokens, 3)
    assert top[0].divergence is None and [x.divergence for x in top[1:]] == [0.8, 0.8]
    assert len(most_divergent(tokens, 100)) == 21


def test_what_no_line_says_has_no_table_and_what_some_do_not_say_is_counted_apart():
    tables = ask([DivergentToken(0.8, 0), DivergentToken(0.8, 0, is_correct=True)], top=10)
    assert list(tables) == ["by_distance_from_start", "by_answer"]
    assert [(x.name, x.tokens) for x in tables["by_answer"].groups] == [("correct", 1), ("unknown", 1)]
    assert ask([], top=10) == {}


def test_groups_keep_the_given_order_and_names_of_others_are_not_lost():
    tokens = [DivergentToken(0.8, 0, kind=kind) for kind in ("mine", None, "other", "digits")]
    assert [x.name for x in group_by(tokens, lambda x: x.kind, ("digits", "other"))] == [
        "digits",
        "other",
        "mine",
        "unknown",
    ]


def test_many_iterations_are_joined_and_their_tokens_are_all_counted():
    tokens = [DivergentToken(0.8, 0, iteration=i) for i in range(100, 1100)] + [DivergentToken(0.8, 0)]
    groups = by_iteration(tokens, most=10)
    assert [group.name for group in groups[:2]] == ["100-199", "200-299"]
    assert [group.tokens for group in groups] == [100] * 10 + [1] and groups[-1].name == "unknown"


def test_a_group_without_a_finite_divergence_has_no_mean():
    (group,) = group_by([DivergentToken(None, 0)], lambda _: "all", ())
    assert (group.mean, group.largest) == (None, None)
    assert mean([0.5, None]) == 0.5


def test_a_place_beyond_the_response_is_its_end():
    assert ask([DivergentToken(0.8, 12, length=10)], top=1)["by_place"].groups[0].name == "end"
