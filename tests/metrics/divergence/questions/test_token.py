# SPDX-License-Identifier: Apache-2.0
"""A line becomes a token, whichever program wrote it; what a key cannot hold is named."""

import math

import pytest

from ntl_jax.metrics.divergence.questions.token import read_token
from tests.divergence_lines import OF_EVERY_PROGRAM, line


def test_a_line_without_our_own_keys_gives_the_same_answers():
    ours, theirs = line(7), {key: line(7)[key] for key in OF_EVERY_PROGRAM}
    of_ours, of_theirs = read_token(ours), read_token(theirs)
    assert (of_theirs.flip, of_theirs.is_digit) == (of_ours.flip, of_ours.is_digit)
    assert (of_theirs.kind, of_theirs.staleness) == (None, None)


def test_further_keys_are_no_obstacle():
    assert read_token(line(3, mine={"a": [1]})) == read_token(line(3))


def test_the_line_of_fewest_keys_leaves_the_rest_unknown():
    token = read_token({"prob_divergence": 1, "position": 0})
    assert (token.divergence, token.position, token.shown, token.is_digit, token.flip) == (1.0, 0, None, None, None)


def test_what_is_digit_says_goes_before_the_text():
    assert read_token(line(token_text=" 7", is_digit=True)).is_digit is True
    assert read_token(line(token_text="7", is_digit=False)).is_digit is False


@pytest.mark.parametrize(("text", "is_digit"), [("7", True), ("12.5", True), (".", True), (" 7", False), ("", False)])
def test_where_is_digit_is_unknown_the_text_says_it(text, is_digit):
    assert read_token(line(token_text=text, is_digit=None)).is_digit is is_digit


@pytest.mark.parametrize(("value", "is_correct"), [(1, True), (0.0, False), (None, None), (math.nan, None)])
def test_truth_may_be_written_as_a_number(value, is_correct):
    assert read_token(line(is_correct=value)).is_correct is is_correct


def test_integers_beside_nulls_may_be_written_as_floats():
    assert read_token(line(position=3.0, iteration=math.nan)).position == 3


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_divergence_that_is_not_finite_is_none(value):
    assert read_token(line(prob_divergence=value)).divergence is None


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("position", -1, "a whole number"),
        ("position", 2.5, "a whole number"),
        ("position", True, "a whole number"),
        ("position", None, "a whole number"),
        ("iteration", 1e300, "a whole number"),
        ("staleness", "1", "a whole number"),
        ("prob_divergence", 1.5, "from 0 to 1"),
        ("prob_divergence", "0.9", "from 0 to 1"),
        ("actor_prob", math.inf, "from 0 to 1"),
        ("rollout_prob", False, "from 0 to 1"),
        ("is_correct", "yes", "true, false or null"),
        ("is_digit", [], "true, false or null"),
        ("token_text", 7, "a text"),
        ("flip_type", {"x": "y" * 100}, "a text"),
    ],
)
def test_a_value_that_a_key_cannot_hold_is_named_with_what_is_allowed(key, value, allowed):
    with pytest.raises(ValueError, match=rf"^{key} is .*: must be .*{allowed}") as error:
        read_token(line(**{key: value}))
    assert len(str(error.value)) < 120
