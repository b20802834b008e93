# SPDX-License-Identifier: Apache-2.0
"""Units agree, or the equation needs to be confirmed; a result in another unit contradicts nothing."""

from fractions import Fraction

import pytest

from ntl_jax.numerals.equations.lexer import tokenize
from ntl_jax.numerals.equations.surroundings import ALWAYS, IF_CONFIRMED, NEVER
from ntl_jax.numerals.equations.units import is_conversion, trust_units, without_units


def test_units_are_left_out_of_an_expression():
    kinds = tokenize("5 red apples + 3 miles per hour").kinds
    assert (kinds, without_units(kinds)) == ("nww+nchc", "n+n")


@pytest.mark.parametrize(
    ("text", "trust"),
    [
        ("5 + 3 = 8 apples", ALWAYS), ("5 apples + 3 apples = 8 apples", ALWAYS),
        ("5 boxes * 3 boxes = 15 box", ALWAYS),
        ("5 apples + 3 pears = 8 fruits", IF_CONFIRMED), ("5 miles per hour * 3 = 15 miles", IF_CONFIRMED),
        ("5 (red) + 3 = 8", IF_CONFIRMED), ("5 apples + 3 apples = 8", NEVER), ("$5 + €3 = $8", NEVER),
    ],
)  # fmt: skip
def test_equal_units_are_trusted_and_others_must_be_confirmed(text, trust):
    tokens = tokenize(text)
    equals = tokens.kinds.index("=")
    assert trust_units(tokens, 0, equals, equals + 1) == trust


@pytest.mark.parametrize(
    ("text", "value", "written", "expected"),
    [
        ("60 * 2 = 2 hours", 120, 2, True), ("3 * 50 = $1.50", 150, Fraction(3, 2), True),
        ("2 weeks * 3 = 42 days", 6, 42, True), ("60 * 2 = 2", 120, 2, False), ("60 * 2 = 110 hours", 120, 110, False),
        ("5 hours * 2 = 600 hours", 10, 600, False), ("3 - 3 = 60 minutes", 0, 60, False),
    ],
)  # fmt: skip
def test_a_conversion_changes_the_unit_and_multiplies_by_what_units_differ_by(text, value, written, expected):
    tokens = tokenize(text)
    assert is_conversion(tokens, 0, tokens.kinds.index("=") + 1, value, written) == expected
