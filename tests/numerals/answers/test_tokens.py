# SPDX-License-Identifier: Apache-2.0
"""The tokens of answers: which kinds there are, and the exact values of those that have one."""

from fractions import Fraction

import pytest

from ntl_jax.numerals.answers.tokens import MAX_TOKENS, Unreadable, exponent_of, mixed, power, tokens_of, value_of


def kinds(text: str, **settings: bool) -> list[str | None]:
    return [token.lastgroup for token in tokens_of(text, 0, len(text), **settings)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1,234.50.", ["number", "pause"]),
        (r"\frac{1}{2} m^2", ["fraction", "word", "caret", "number"]),
        ("-5 × 10³", ["sign", "number", "times", "number", "superscript"]),
        (r"\text{72}\,\%", ["number"]),
        ("1½/4", ["number", "vulgar", "slash", "number"]),
        ("CO2 = f(9)", ["word", "equals", "word", "number"]),
        ("", []),
    ],
)
def test_a_text_has_these_kinds_of_tokens(text, expected):
    assert kinds(text) == expected


def test_thousands_need_one_separator_and_groups_of_three():
    assert [t[0] for t in tokens_of("1,234,567 1,2345 1{,}234 1 234", 0, 30)] == [
        "1,234,567", "1", ",", "2345", "1{,}234", "1 234",
    ]  # fmt: skip


def test_a_line_ends_at_its_end_or_at_a_hash_and_tokens_are_few():
    assert kinds("7 apples # 8\n9", ends_with_line=True) == ["number", "word"]
    assert len(tokens_of("7 + " * MAX_TOKENS, 0, 4 * MAX_TOKENS)) == MAX_TOKENS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.50", Fraction(2469, 2)), (".5", Fraction(1, 2)), ("1.5e3", 1500), ("2e-2", Fraction(1, 50)),
        ("⅓", Fraction(1, 3)), (r"\frac{-1.5}{3}", Fraction(-1, 2)), (r"\frac12", Fraction(1, 2)),
    ],
)  # fmt: skip
def test_values_are_exact(text, value):
    (token,) = tokens_of(text, 0, len(text))
    assert value_of(token) == value


@pytest.mark.parametrize("text", ["1" * 19, "1e65", "1e1000", r"\frac{1}{0}", "+"])
def test_what_has_no_value_or_too_large_a_one_is_unreadable(text):
    (token,) = tokens_of(text, 0, len(text))
    with pytest.raises(Unreadable):
        value_of(token)


def test_exponents_are_integers_in_digits_or_superscripts():
    assert (exponent_of("⁻¹²"), exponent_of("+64"), power(Fraction(2), -1)) == (-12, 64, Fraction(1, 2))
    for text in ("65", "-65", "1.5", "", "1000"):
        with pytest.raises(Unreadable):
            exponent_of(text)


def test_a_mixed_number_is_an_integer_and_a_proper_fraction():
    two, half = tokens_of("2 2.5", 0, 5)
    assert mixed(two, Fraction(1, 3)) == Fraction(7, 3)
    for whole, part in ((two, Fraction(5, 3)), (two, Fraction(0)), (half, Fraction(1, 3))):
        with pytest.raises(Unreadable):
            mixed(whole, part)
