# SPDX-License-Identifier: Apache-2.0
"""Numbers are found at the right characters, with the places of their digits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ntl_jax.numerals import find_answer, find_numerals, parse_numeral

# Characters that mean something to the scanner, so that random texts hit its rules.
HOSTILE = st.text(
    alphabet="0123456789#$%.,-+\N{MINUS SIGN}\\boxed{}() \n\u00a0aé²٣\N{FULLWIDTH DIGIT SEVEN}€", max_size=80
)


def test_places_are_counted_from_the_point():
    numeral = parse_numeral("1,230.45")
    assert list(zip(numeral.digits, numeral.places, strict=True)) == [
        ("1", 3), ("2", 2), ("3", 1), ("0", 0), ("4", -1), ("5", -2),
    ]  # fmt: skip
    assert list(parse_numeral(".07").places) == [-1, -2]


@given(HOSTILE)
@settings(max_examples=200)
def test_offsets_point_at_the_digits_of_disjoint_numbers_in_any_text(text):
    numerals = [*find_numerals(text)]
    assert all(text[i] == d for n in numerals for i, d in zip(n.offsets, n.digits, strict=True))
    offsets = [i for n in numerals for i in n.offsets]
    assert offsets == [i for i, c in enumerate(text) if c in "0123456789"]
    answer = find_answer(text)
    if "####" not in text and "\\boxed" not in text:
        assert (answer is None) == (not numerals)
