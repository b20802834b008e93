# SPDX-License-Identifier: Apache-2.0
"""The answer of a text is the marked number, else its last, in any style people write numbers in."""

import json
import pathlib
import re
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.numerals import AnswerMarkers, agrees, find_answer, parse_numeral

GSM8K = pathlib.Path(__file__).parents[2] / "tasks" / "gsm8k_rows.jsonl"


MINUS = "\N{MINUS SIGN}"


def canonical(text: str) -> str | None:
    answer = find_answer(text)
    return answer and answer.text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("#### 72", "72"),
        ("####72", "72"),
        ("#### -5", "-5"),
        ("#### - 5", "-5"),
        (f"#### {MINUS}5", "-5"),
        ("#### +5", "5"),
        ("#### $1,234.50", "1234.5"),
        ("#### -$3", "-3"),
        ("#### $-3", "-3"),
        (r"#### \$3", "3"),
        ("#### € 3", "3"),
        ("#### 72.", "72"),
        ("#### 72.0", "72"),
        ("#### 072", "72"),
        ("#### 15%", "15"),
        ("#### .5", "0.5"),
        ("#### -0", "0"),
        ("#### 0.0", "0"),
        ("#### 192,000,000 apples", "192000000"),
        ("##### 7", "7"),
        ("####\u00a07", "7"),
        ("### 3 #### 7", "7"),
        ("x = 3 #### 7\nThe next question: 9", "7"),
    ],
)
def test_the_number_after_the_marker_is_read_in_every_style(written, expected):
    assert canonical(written) == expected


def test_of_several_markers_the_first_counts():
    assert canonical("#### 5\n#### 6") == "5"


def test_a_marker_without_a_number_is_passed_over():
    assert canonical("#### none\n#### 6") == "6"
    assert canonical("it is 7 #### unknown") == "7"
    assert canonical("####\n7") == "7"
    answer = find_answer("#### unknown, 7")
    assert answer is not None and not answer.marked


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (r"\boxed{72}", "72"),
        (r"$\boxed{72}$ and 9", "72"),
        (r"\boxed{3} then \boxed{72}", "72"),
        (r"\boxed{\text{the {total} is } 72} 9", "72"),
        (r"\boxed{\boxed{72}} 9", "72"),
        (r"\boxed {72} 9", "72"),
        (r"\boxed{\$1{,}234.5} 9", "1234.5"),
        (r"\boxed{-72\%} 9", "-72"),
        (r"\boxed{72", "72"),
        (r"8 \boxed{none}", "8"),
        (r"#### 5 \boxed{6}", "5"),
    ],
)
def test_the_last_box_is_read_with_nested_braces(written, expected):
    assert canonical(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("it is 7, then 72.", "72"),
        ("(-72)", "-72"),
        ("=-72", "-72"),
        ("covid-19", "19"),
        ("1,234,567", "1234567"),
        ("3...7", "7"),
        ("at 80-72", "72"),
        ("5 - 3", "3"),
        ("1,2,3", "3"),
        ("1234,567", "567"),
        ("1,2345", "2345"),
        ("1.2.3", "3"),
        ("x², 5³, 4٣, 7\N{FULLWIDTH DIGIT SEVEN}", "7"),
        ("none", None),
        ("", None),
    ],
)
def test_without_a_mark_the_last_number_is_the_answer(written, expected):
    assert canonical(written) == expected
    answer = find_answer(written)
    assert answer is None or not answer.marked


def test_a_reference_without_a_number_is_refused():
    with pytest.raises(ValueError, match="'twelve' holds no number"):
        parse_numeral("twelve")


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=2),
    st.sampled_from(["#### {:,}", "#### ${:,}.", "so \\boxed{{\\${:,}}}", "that makes {:,}.", "#### {:+}", "{}%"]),
)
def test_every_value_survives_every_style(value, style):
    answer = find_answer(style.format(value))
    assert answer is not None and answer.numeral is not None
    assert Fraction(answer.text) == answer.value == Fraction(value)
    digits, places = answer.numeral.digits, answer.numeral.places
    written = sum(int(d) * Fraction(10) ** p for d, p in zip(digits, places, strict=True))
    assert written == abs(Fraction(value))


@given(st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,5})?", fullmatch=True))
def test_equal_values_and_only_they_share_the_canonical_form(written):
    text = parse_numeral(written).canonical
    assert Decimal(text) == Decimal(written)
    assert parse_numeral(text).canonical == text
    assert text == "0" or not (text.endswith(".") or text.startswith("00") or ("." in text and text.endswith("0")))


@pytest.mark.parametrize(
    "pattern",
    [
        "#", "####", "#### ", "#### -", "#### $ ", "#### 1,2345", "1,", "1,234", "1,234,", "1{,}", "1.", "9", " ",
        ".", "-", "- $", "-$", "\\boxed{", "\\boxed{1", "{", "}",
    ],
)  # fmt: skip
def test_hostile_text_takes_linear_time(pattern):
    text = (pattern * 100_000)[:100_000] + "x"
    start = time.process_time()
    find_answer(text)
    assert time.process_time() - start < 1  # a quadratic scan of this length takes minutes


def test_answers_of_gsm8k_are_read_as_its_own_scorer_reads_them():
    scorer = re.compile(r"#### (\-?[0-9\.\,]+)")
    solutions = [json.loads(line)["answer"] for line in GSM8K.read_text("utf-8").splitlines()]
    read = [canonical(s) for s in solutions]
    assert read == [scorer.findall(s)[0].replace(",", "") for s in solutions]


def test_answers_may_be_marked_otherwise_or_not_at_all():
    markers = AnswerMarkers(line="Answer:", box=None)
    text = "#### 1 \\boxed{2}\nAnswer: 72 apples\nAnswer: 3"
    answer = find_answer(text, markers)
    assert answer is not None and (answer.text, answer.marked) == ("72", True)
    assert text[answer.start : answer.end] == "72"
    assert agrees(answer, "so 72.\nAnswer: 72", markers)
    unmarked = find_answer("#### 1 \\boxed{2} 3", AnswerMarkers(line=None, box=None))
    assert unmarked is not None and (unmarked.text, unmarked.marked) == ("3", False)
