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


@pytest.mark.parametrize(
    "reference", ["seventy-two", "x", "12 or 13", "5-7", "3:30", "1/0", "1/2/3", "4\\sqrt{2}", "5!", "3x", "72, 73"]
)
def test_a_reference_that_is_not_one_number_is_compared_as_text(reference):
    assert is_correct(f"#### {reference}", reference)
    assert is_correct(f"so \\boxed{{\\text{{ {reference} }}}}", reference) or "{" in reference
    assert not any(is_correct(response, reference) for response in ("#### 72", "#### 2", "none", reference))


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_blank_reference_is_refused(blank):
    with pytest.raises(ValueError, match="is blank: pass a number, or the text"):
        is_correct("#### 72", blank)


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ("1/2", ["#### 1/2", "#### 2/4", "#### 0.5", r"\boxed{\frac{1}{2}}", "so ½", "#### .50"], ["#### 2", "#### 1"]),
        ("-1/3", ["#### -1/3", r"\boxed{-\dfrac{2}{6}}"], ["#### 1/3", "#### -0.333333", "#### 3"]),
        ("2", ["#### 4/2", "#### 2"], ["#### 2/3", "#### 1/2", "#### 2:30", "#### 2-5", "#### 2,5"]),
        ("1000", ["#### 10^3", "#### 1e3", r"\boxed{1,\!000}"], ["#### 10", "#### 3", "#### 1,00"]),
        (r"so \boxed{\frac{3}{4}}", ["#### 0.75"], ["#### 4"]),
        ("$1,200 ", ["#### 1200"], ["#### 1"]),
    ],
)
def test_fractions_and_powers_are_compared_exactly(reference, right, wrong):
    assert [is_correct(response, reference) for response in right] == [True] * len(right)
    assert [is_correct(response, reference) for response in wrong] == [False] * len(wrong)
