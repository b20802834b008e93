# SPDX-License-Identifier: Apache-2.0
"""Answers are compared by value, whatever the style they are written in."""

import pytest

from ntl_jax.rewards import extract_answer, is_correct


@pytest.mark.parametrize(
    "style", ["#### 1,272", "#### $1272.00", r"so \boxed{1{,}272}", "She pays 1272.", "#### +1272%"]
)
def test_a_right_answer_is_right_in_every_style(style):
    assert is_correct(style, "1272")
    assert is_correct(style, "1,272.0")
    assert not is_correct(style, "-1272")
    assert extract_answer(style) == "1272"


@pytest.mark.parametrize("response", ["#### 71", "#### 72.5", "#### -72", "no number", ""])
def test_a_wrong_or_absent_answer_is_wrong(response):
    assert not is_correct(response, "72")


def test_the_reference_may_be_a_whole_solution():
    assert is_correct("#### 72", "48/2 = <<48/2=24>>24, and 48 + 24 = 72\n#### 72")


def test_answers_longer_than_python_converts_to_an_integer_are_compared():
    assert is_correct("#### " + "7" * 10_000, "7" * 10_000)
    assert not is_correct("#### " + "7" * 9_999 + "8", "7" * 10_000)


def test_a_reference_without_a_number_is_refused():
    with pytest.raises(ValueError, match="holds no number"):
        is_correct("#### 72", "seventy-two")
