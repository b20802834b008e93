# SPDX-License-Identifier: Apache-2.0
"""Expressions have exact values, products before sums and from the left, or none."""

from fractions import Fraction

import pytest

from ntl_jax.numerals.equations.expressions import MAX_DIGITS, MAX_TOKENS, Value, evaluate, number_of
from ntl_jax.numerals.equations.lexer import tokenize


def value_of(text: str) -> Value | None:
    tokens = tokenize(text)
    numerals = [tokens.word(i) for i, kind in enumerate(tokens.kinds) if kind == "n"]
    return evaluate(tokens.kinds, numerals)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2 + 3 * 4", 14), ("20 - 5 - 3", 12), ("24 / 4 / 2", 3), ("(2 + 3) * 4", 20), ("2(3 + 4)", 14),
        ("[2 + 3] * 4", 20), ("-3 + 5", 2), ("3 * -2", -6), ("1 / 3", Fraction(1, 3)), ("0.1 + 0.2", Fraction(3, 10)),
        ("1,200 * 2", 2400), ("20% * 50", 10), ("((1 + 2) * 3", 9),
    ],
)  # fmt: skip
def test_values_are_exact_and_follow_precedence(text, number):
    assert value_of(text) == Value(number, False)


def test_a_percentage_stays_one_in_sums_of_percentages():
    assert value_of("20% + 30%") == Value(Fraction(1, 2), True)
    assert value_of("20%") == Value(Fraction(1, 5), True)
    assert value_of("100 + 20%") is None


@pytest.mark.parametrize("text", ["1 / 0", "1 / (2 - 2)", "2 +", "+ * 2", "2 3", "2 * (2", "2 + )", "2 + x"])
def test_what_is_no_expression_has_no_value(text):
    assert value_of(text) is None


def test_expressions_past_the_limits_have_no_value():
    assert evaluate("n" + "+n" * (MAX_TOKENS // 2 - 1), ["1"] * (MAX_TOKENS // 2)) == Value(MAX_TOKENS // 2, False)
    assert evaluate("n" + "+n" * MAX_TOKENS, ["1"] * (MAX_TOKENS + 1)) is None
    assert evaluate("n*n*n*n*n", ["9" * MAX_DIGITS] * 5) is None


@pytest.mark.parametrize(
    ("written", "number"),
    [("0", 0), ("0.50", Fraction(1, 2)), ("1{,}200", 1200), ("1,200.5", Fraction(2401, 2)), ("0900", None),
     ("9" * MAX_DIGITS, int("9" * MAX_DIGITS)), ("9" * (MAX_DIGITS + 1), None)],
)  # fmt: skip
def test_numerals_are_read_unless_they_are_too_long_or_times_of_day(written, number):
    assert number_of(written) == number
