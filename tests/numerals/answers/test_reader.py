# SPDX-License-Identifier: Apache-2.0
"""The text around a number decides which number the answer is, or that there is no answer."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.numerals import Answer, Numeral, find_answer, parse_numeral

NUMERALS = {
    "#### 220 + 90 + 60 = 370": "370",
    "#### x = 5": "5",
    "#### Total = $5": "5",
    "#### 5 apples + 3 apples = 8 apples": "8",
    "#### 20% of 50 = 10": "10",
    "#### 5 x 3 = 15": "15",
    "#### 100 \N{MINUS SIGN} 28 = 72.": "72",
    "#### <<5+3=8>>8": "8",
    "#### 1/2 = 0.5": "0.5",
    "#### 72. Q: 3 + 4 = 7": "72",
    "#### 72 because 3 + 4 = 7": "72",
    "#### 72 km": "72",
    "#### 72 km/h": "72",
    "#### 72 m^2": "72",
    "#### 72 m²": "72",
    "#### 72 km in 3 hours": "72",
    "#### 72 (5 more than 67)": "72",
    "#### 72, which is 5 more": "72",
    "#### 72/hour": "72",
    "#### 72!": "72",
    "#### 3rd": "3",
    "#### 12 cups": "12",
    "#### 72m2": "72",
    "#### 72 a day": "72",
    "#### 72 in the third week": "72",
    "#### 12 quarters": "12",
    "#### 72, 73": "72",
    "#### 1, 930": "1",
    "#### 6x": "6",
    "#### <b>72</b><|im_end|>": "72",
    "#### $18.00": "18",
    "#### 50%": "50",
    "#### **72**": "72",
    "#### $72$": "72",
    r"#### \(72\)": "72",
    "#### (72)": "72",
    r"#### \$72": "72",
    r"#### \boxed{72}": "72",
    "#### 72\N{DEGREE SIGN}": "72",
    "#### \N{EN DASH}5": "-5",
    "#### 10 000": "10000",
    "#### 1\u202f234\u202f567.5": "1234567.5",
    r"\boxed{72 \text{ m}^2}": "72",
    r"\boxed{72\,\mathrm{m\,s^{-2}}}": "72",
    r"\boxed{\text{72 km}}": "72",
    r"\boxed{72^{\circ}}": "72",
    r"\boxed{10,\!000}": "10000",
    r"\boxed{10\,000}": "10000",
    r"\boxed{10~000}": "10000",
    r"\boxed{x = -5\%}": "-5",
    r"\boxed{2 \cdot 36 = 72}": "72",
    r"\boxed{\frac{1}{2}} and \boxed{\mathbf{72}}": "72",
}
EXACT = {
    "#### 2/3": Fraction(2, 3),
    "#### 24 / 7 days": Fraction(24, 7),
    "#### -2/3": Fraction(-2, 3),
    "#### 4/2": 2,
    "#### 1 1/2": Fraction(3, 2),
    "#### -1 1/2 cups": Fraction(-3, 2),
    "#### 1½": Fraction(3, 2),
    "#### ¾": Fraction(3, 4),
    "#### 2\N{FRACTION SLASH}3": Fraction(2, 3),
    "#### 10^3": 1000,
    "#### 2**10": 1024,
    "#### 10³": 1000,
    "#### 10⁻³": Fraction(1, 1000),
    "#### 1.5e3": 1500,
    "#### 2E-2": Fraction(1, 50),
    r"#### 1.5 \times 10^3": 1500,
    "#### 1.5 x 10^3": 1500,
    "#### 1.5 million": 1_500_000,
    "#### 2 hundred": 200,
    "#### 2 hundred thousand": 200_000,
    "#### 2 millions": 2_000_000,
    r"#### $-\frac{1}{2}$": Fraction(-1, 2),
    r"\boxed{\frac{1}{12}}": Fraction(1, 12),
    r"\boxed{\dfrac{3}{4}}": Fraction(3, 4),
    r"\boxed{\tfrac{3}{4}}": Fraction(3, 4),
    r"\boxed{-\frac{3}{4}}": Fraction(-3, 4),
    r"\boxed{\frac{-3}{4}\text{ cup}}": Fraction(-3, 4),
    r"\boxed{\frac12}": Fraction(1, 2),
    r"\boxed{2\frac{1}{3}}": Fraction(7, 3),
    r"\boxed{\boxed{3/4}}": Fraction(3, 4),
    r"\boxed{2^{10}}": 1024,
    r"\boxed{\frac{1}{2}": Fraction(1, 2),
}
NO_ANSWER = [
    "#### 3:30", "#### 3 : 2", "#### 8:00 AM", "#### 5-7", "#### 5 - 7", "#### 5\N{EN DASH}7", "#### 5%-7%",
    "#### 5 to 7", "#### 5 or 7", "#### 3,000 - 4,000 people", "#### 1.2.3", "#### 12,5", "#### 0,125", "#### 1,20,000",
    "#### 1,2345", "#### 1234,567", "#### 1 234,56", "#### 12/5/2023", "#### 2023-05-12", "#### 1/0",
    "#### 2*36", "#### 3 + 4", "#### 3(4)", "#### 72 cm \N{MULTIPLICATION SIGN} 5 cm", "#### 5 feet 3 inches",
    "#### 5' 3\"", "#### 1 hour 30 min", "#### 16 and 2/3", "#### 5 and a half", "#### 16 R2", "#### 16 remainder 2",
    "#### 5 < 7", "#### 4\N{SQUARE ROOT}2", r"#### \sqrt{2}", "#### \N{PLUS-MINUS SIGN}5", "#### 5k", "#### 4٣",
    "#### 9^999999999", "#### 1e999", "#### \uff17\uff12", "#### x = 1 or x = 2",
    r"\boxed{x = 1, y = 2}", r"\boxed{x = 1 \text{ or } x = 2}",
    "#### $5 - $7",
    "#### sqrt(9)", "#### -sqrt(9)", "#### sqrt 9", "#### f(9)", "#### log_2(8)", "#### 3 sqrt(2)", "#### x_1",
    "#### 2pi", "#### 2 pi", "#### 2ab", "#### 5i", "#### 5 + x", "#### 5 - x",
    "#### x > 72", "#### x \N{GREATER-THAN OR EQUAL TO} 72", r"#### x \ge 72", "#### 72 > x", "#### 72 < 80",
    r"#### 0.\overline{3}", r"#### 0.\bar{3}", "#### 0.(3)", "#### 5h30", "#### 5h 30", "#### 2 thousand five",
    "#### 2 dozen", "#### 3 dozen eggs", "#### 2 dozens",
    r"\boxed{3n}", r"\boxed{3\,n}", r"\boxed{4i}", r"\boxed{5!}", r"\boxed{sqrt(9)}", r"\boxed{x_1}", r"\boxed{x > 72}",
    r"\boxed{0.\overline{3}}", r"\boxed{2 \text{ dozen}}",
    r"\boxed{4\sqrt{2}}", r"\boxed{4\pi}", r"\boxed{\frac{\pi}{2}}", r"\boxed{2x}",
    r"\boxed{x^2}", r"\boxed{3, 5}", r"\boxed{(3, 5)}", r"\boxed{5 \text{ or } 7}", r"\boxed{5:7}",
    r"\boxed{2 \frac{5}{3}}",
    r"\boxed{3 \text{ hours and } 30 \text{ minutes}}",
]  # fmt: skip

# The last number of these is one number.
NO_MARKED_ANSWER = ["#### 5 May 2023", "#### x = unknown"]


def read(text: str) -> tuple[Answer, Numeral]:
    """The answer of a text that gives one, and its number."""
    answer = find_answer(text)
    assert answer is not None and answer.numeral is not None
    return answer, answer.numeral


@pytest.mark.parametrize(("written", "expected"), NUMERALS.items())
def test_numerals_are_read_with_their_sign_separators_and_units(written, expected):
    answer, numeral = read("It is 8 + 9 = 17.\n" + written)
    assert answer.marked and numeral.exact is None
    assert answer.text == numeral.canonical == expected


@pytest.mark.parametrize(("written", "value"), EXACT.items())
def test_fractions_and_powers_are_read_exactly_and_have_no_digits(written, value):
    answer, numeral = read("It is 8 + 9 = 17.\n" + written)
    assert answer.marked and answer.value == numeral.exact == value
    assert (numeral.digits, numeral.offsets) == ("", ())
    assert Fraction(answer.text) == value


@pytest.mark.parametrize("written", NO_ANSWER + NO_MARKED_ANSWER)
def test_what_is_not_one_number_is_no_answer(written):
    assert find_answer("It is 8 + 9 = 17.\n" + written) is None


@pytest.mark.parametrize("written", ["#### none", "#### ", "####\n17", r"\boxed{\text{seventeen}}", r"\boxed{}"])
def test_marks_without_a_number_are_skipped(written):
    text = "It is 17.\n" + written
    answer, _ = read(text)
    assert (answer.text, answer.marked) == ("17", False)


def test_an_answer_after_an_unreadable_one_does_not_count():
    assert find_answer("#### 5-7\n#### 6") is None
    assert find_answer(r"#### 5-7 \boxed{6}") is None


@given(
    st.fractions(-(10**9), 10**9, max_denominator=10**6),
    st.sampled_from(["#### {}/{}", r"\boxed{{\frac{{{}}}{{{}}}}}"]),
)
def test_every_fraction_survives_and_equal_values_share_the_canonical_form(value, style):
    for factor in (1, 6):
        answer, _ = read(style.format(value.numerator * factor, value.denominator * factor))
        assert answer.value == value
        assert answer.text == parse_numeral(f"{value.numerator}/{value.denominator}").canonical
        if "/" not in answer.text:
            assert answer.text == parse_numeral(answer.text).canonical


@pytest.mark.parametrize(
    "pattern",
    [
        "#### 1 ", "#### \\frac", "\\frac{1}{", "1/", "1^", "1 x ", "^   ",
        "1,234", "a", "5 a = ", "=", "(", ">>", "**",
        "x", "\\boxed{1", "1 000",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", ["#### ", "\\boxed{"])
def test_hostile_answers_take_linear_time(pattern, start):
    text = start + (pattern * 100_000)[:100_000]
    begin = time.process_time()
    find_answer(text)
    assert time.process_time() - begin < 1  # a quadratic scan of this length takes minutes
