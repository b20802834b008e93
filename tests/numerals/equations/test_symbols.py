# SPDX-License-Identifier: Apache-2.0
"""LaTeX and Markdown become plain text of the same length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.numerals.equations.symbols import plain_text, without_bullet


def test_a_line_of_marks_reads_as_text_of_the_same_length():
    text = r"- **Sum:** \(\frac{1{,}200}{\text{4}} &= \boxed{300} \text{ m}\) `x` \unknown"
    assert len(plain_text(text)) == len(text)
    assert plain_text(text).index("300") == text.index("300")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"3 \times 4", "3      * 4"),
        (r"\frac{12}{4}", "     (12\ue000 4\ue001"),
        ("**3 + 4** = 7", "  3 + 4   = 7"),
        ("`3` & 4", " 3    4"),
        (r"7 \text{ m}", "7        m "),
        (r"2 ** 3", "2 ** 3"),
        (r"\foo 3", "\ufffd\ufffd\ufffd\ufffd 3"),
        (r"20^\circ", "20°     "),
        ("3 + 4", "3 + 4"),
    ],
)
def test_marks_become_blanks_or_their_meaning_and_the_unknown_stays_unknown(text, plain):
    assert plain_text(text) == plain and len(plain) == len(text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("1. 3 + 4", "   3 + 4"), ("* so 3", "  so 3"), ("* 3 + 4", " |3 + 4"), ("3 + 4", "3 + 4"), ("> a) 3", "     3")],
)
def test_a_lists_mark_is_left_out_unless_it_may_be_an_operator(line, expected):
    assert without_bullet(line) == expected


@given(st.text(alphabet="\\{}*`&_^$ 3+4=tfracex\n%-", max_size=60))
def test_any_text_keeps_its_length(text):
    assert len(plain_text(text)) == len(without_bullet(text)) == len(text)
