# SPDX-License-Identifier: Apache-2.0
"""The effect of a word on a computation next to it, and units in the singular."""

import pytest

from ntl_jax.numerals.equations.words import LETTERS, kind_of_word, singular


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("costs COSTS I a so", "k"), ("florp apples A", "w"), ("half twice one-third", "o"), ("hour kg °", "c"),
        ("page Monday", "l"), ("x n y", "v"), ("million dozen", "y"), ("remainder", "r"), ("plus", "P"), ("minus", "M"),
        ("times", "T"), ("squared", "Q"), ("percent", "%"), ("of", "f"), ("per", "h"), ("and", "i"), ("modulo", "z"),
    ],
)  # fmt: skip
def test_words_have_their_kind_in_any_case(words, kind):
    assert {kind_of_word(word) for word in words.split()} == {kind}
    assert kind in LETTERS + "%"


def test_phrases_are_operators_however_their_blanks_are():
    assert (kind_of_word("divided by"), kind_of_word("Multiplied\n by")) == ("D", "T")


@pytest.mark.parametrize(
    ("plural", "expected"),
    [("Apples", "apple"), ("berries", "berry"), ("boxes", "box"), ("potatoes", "potato"), ("dishes", "dish"),
     ("feet", "foot"), ("people", "person"), ("glass", "glass"), ("inches", "inch")],
)  # fmt: skip
def test_units_are_compared_in_the_singular(plural, expected):
    assert singular(plural) == expected
