# SPDX-License-Identifier: Apache-2.0
"""Without a mark the last number is the answer, with all that belongs to it."""

import pytest

from ntl_jax.numerals import Answer, Numeral, find_answer, find_numerals
from tests.numerals.answers.test_reader import NO_ANSWER


def read(text: str) -> tuple[Answer, Numeral]:
    """The answer of a text that gives one, and its number."""
    answer = find_answer(text)
    assert answer is not None and answer.numeral is not None
    return answer, answer.numeral


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("so 2/3", "2/3"),
        ("so -2/3", "-2/3"),
        ("so ⅓ of 1⅓", "4/3"),
        ("4 of ⅓", "1/3"),
        ("so $\\frac{1}{3}$ of it.", "1/3"),
        ("so 1 1/3 cups", "4/3"),
        ("so 10^3.", "1000"),
        ("so 1.5e3", "1500"),
        (r"10^{-3}", "0.001"),
        (r"so $1.5 \times 10^3$.", "1500"),
        ("so 5 x 10^{2}", "500"),
        ("so 10³.", "1000"),
        ("so 1.5 million dollars.", "1500000"),
        ("so -1.5 million", "-1500000"),
        ("24 / 7 days", "24/7"),
        ("48/2=24", "24"),
        ("2/3 of 9", "9"),
    ],
)
def test_without_a_mark_a_fraction_or_power_at_the_end_is_read_whole(written, expected):
    answer, _ = read(written)
    assert answer.text == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("The area is 72 m^2.", "72"),
        (r"It is 72\text{ cm}^2.", "72"),
        (r"It is $72\,\mathrm{m\,s^{-2}}$.", "72"),
        ("It is 3 * 24 = 72 km^{3}", "72"),
        ("It is 72 m2.", "72"),
        ("They save 72 kg of CO2", "72"),
        ("so 10 000.", "10000"),
        ("so 1 234 567", "1234567"),
        (r"so 10\,250", "10250"),
        (r"so $10,\!250$", "10250"),
        ("so 10\u00a0250", "10250"),
        ("so 10~250", "10250"),
        ("Step 3: 72", "72"),
        ("The answer is: 72", "72"),
        ("It costs 5, and then 72", "72"),
        ("a = 5, b = 72", "72"),
        ("5 plus 67 equals 72", "72"),
        ("1. 5\n2. 72", "72"),
        ("| 5 | 72 |", "72"),
        ("=> 72", "72"),
        (r"\Rightarrow 72", "72"),
        ("<answer>72</answer>", "72"),
        ("67+5=<<67+5=72>>72", "72"),
        (r"67+5=<<67+5=72>>\$72", "72"),
        ("72 in the third week", "72"),
    ],
)
def test_without_a_mark_units_and_separators_belong_to_the_last_numeral(written, expected):
    answer, numeral = read(written)
    assert numeral.exact is None
    assert answer.text == expected


@pytest.mark.parametrize(
    "written",
    [
        *(text.removeprefix("#### ") for text in NO_ANSWER if "=" not in text and "boxed" not in text),
        "so 10 250 boxes", "In group 5 200 people", "on 12/5/2023", "at 80-72", "5 - 3", "so x^2", "(1+1)^2",
    ],
)  # fmt: skip
def test_without_a_mark_the_last_number_stands_alone_where_it_is_tied_to_others(written):
    text = f"so {written}"
    answer = find_answer(text)
    assert (answer and answer.numeral) == next(iter([*find_numerals(text)][::-1]), None)
