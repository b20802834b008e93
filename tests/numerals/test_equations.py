# SPDX-License-Identifier: Apache-2.0
"""Equations are evaluated exactly; what is not plainly one has no truth; hostile text costs linear time."""

import json
import pathlib
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntl_jax.numerals import align, find_equations, parse_numeral

GSM8K = pathlib.Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "test.jsonl"
ALPHABET = st.text(alphabet="0123456789+-*/=()%<>.,$ x\n×÷−²^abof", max_size=80)


def truths(text: str) -> list[str]:
    return [equation.truth.canonical for equation in find_equations(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12+7=19", ["19"]),
        ("12 + 7 = 20", ["19"]),
        ("48/2=<<48/2=24>>24 clips", ["24", "24"]),
        ("half of it is <<48/2=24>>23 clips", ["24", "24"]),
        ("2*3+4*5=1", ["26"]),
        ("2*(3+4)*5=1", ["70"]),
        ("100-2-3=1", ["95"]),
        ("100/10/5=1", ["2"]),
        ("2-(3-5)=1", ["4"]),
        ("-3+5=1", ["2"]),
        ("3*-2=5", ["-6"]),
        ("3--2=1", ["5"]),
        ("5-7=-3", ["-2"]),
        ("5 − 7 = 3", ["-2"]),
        ("3 × 4 = 1, 12 ÷ 4 = 1", ["12", "3"]),
        ("1,200+$300=1", ["1500"]),
        ("$1,000.50 * 2 = $1", ["2001"]),
        ("7/2=3", ["3.5"]),
        ("1/8=0.13", ["0.125"]),
        ("1/3=0.333", ["0.333"]),
        ("2/3=0.66", ["0.67"]),
        ("10/3=3", ["3"]),
        ("0.1+0.2=0.3", ["0.3"]),
        ("50*20%=1", ["10"]),
        ("100%-20%=70%", ["80"]),
        ("(5*2=10)", ["10"]),
        ("((1+2)*3=8)", ["9"]),
        ("2+3=5+4=9", ["9"]),
        ("2*3=6=6", ["6"]),
        ("x=3*2=6", ["6"]),
        ("3+5=8 (apples)", ["8"]),
        ("3+4=7.", ["7"]),
    ],
)
def test_the_left_hand_side_is_evaluated_exactly(text, expected):
    assert truths(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "=", "5=5", "= 7", "x = 5", "2x+3=7", "x+3+4=7", "x + 3 + 4 = 7", "f(3+4)=7", "3(4+5)=7", "2^3+1=9",
        "5²+3=28", "1 1/2 + 2 = 3", "half of 20+5=15", "twice 3+4=10", "5 apples + 3 apples = 8", "100+20%=120",
        "100%-20%=80", "20/50*100=40%", "3+4=7/2", "3+4=7*2", "3+4=7 times 2", "3+4=7-x", "3/0=1", "1/(2-2)=3",
        "3+(4=7", "3+)4(=7", "3++4=7", "*3+4=7", "3+4=\n7", "3+\n4=7", "3+4=seven", "3+4==7", "6:00+48=54",
        "13,2000/60=220", "1234567890123456789+1=5", "(" * 60 + "1+1" + ")" * 60 + "=2",
        "+".join("1" * 40) + "=40", "*".join(["999999999999999999"] * 9) + "=1",
    ],
)  # fmt: skip
def test_what_is_not_plainly_an_equation_has_no_truth(text):
    assert truths(text) == []


def test_results_point_at_their_digits():
    text = "so 12+7=<<12+7=$1,019.50>>19"
    first, second = find_equations(text)
    assert [text[i] for i in first.result.offsets] == list("101950")
    assert second.result.offsets == (26, 27)


def test_a_result_is_aligned_with_its_truth_by_place():
    (equation,) = find_equations("90+100=19")
    alignment = align(equation.result, equation.truth)
    assert (alignment.truth, alignment.missing_places, alignment.prefix_truth) == ((9, 0), 1, (1, 9))


@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=6),
    st.lists(st.sampled_from("+-*/"), min_size=5, max_size=5),
    st.integers(0, 10**6),
)
def test_products_before_sums_from_the_left(numbers, operators, written):
    text, total, term = str(numbers[0]), Fraction(0), Fraction(numbers[0])
    for operator, number in zip(operators, numbers[1:], strict=False):
        text += operator + str(number)
        match operator:
            case "*":
                term *= number
            case "/":
                term /= number
            case _:
                total, term = total + term, Fraction(number if operator == "+" else -number)
    (truth,) = truths(f"{text}={written}")
    expected = total + term
    exact = (expected * 10**6).denominator == 1
    assert Fraction(truth) == expected if exact else abs(Fraction(truth) - expected) <= Fraction(1, 2)


@given(ALPHABET)
@settings(max_examples=500)
def test_any_text_is_read_and_results_point_at_digits(text):
    for equation in find_equations(text):
        assert all(text[i] == d for i, d in zip(equation.result.offsets, equation.result.digits, strict=True))
        assert parse_numeral(equation.truth.canonical).canonical == equation.truth.canonical


@pytest.mark.parametrize(
    "pattern", ["1+", "(", ")", "1+1=", "9", "1 ", "<<", ">>", "<<1+1=", "%", "-", "1/7=", "a", " "]
)
def test_hostile_text_takes_linear_time(pattern):
    text = (pattern * 200_000)[:200_000] + "1+1=2"
    start = time.process_time()
    list(find_equations(text))
    assert time.process_time() - start < 6  # a quadratic scan of this length takes hours


@pytest.mark.skipif(not GSM8K.exists(), reason="needs the GSM8K files in ../shared/data")
def test_the_equations_of_gsm8k_hold():
    solutions = [json.loads(line)["answer"] for line in GSM8K.read_text("utf-8").splitlines()]
    equations = [equation for solution in solutions for equation in find_equations(solution)]
    wrong = [e for e in equations if e.result.canonical != e.truth.canonical]
    assert len(equations) > 1.9 * sum(solution.count(">>") for solution in solutions)
    assert len(wrong) < 0.002 * len(equations)
