# SPDX-License-Identifier: Apache-2.0
"""LaTeX and Markdown become plain text of the same length."""

from ntl_jax.numerals.equations.symbols import plain_text


def test_a_line_of_marks_reads_as_text_of_the_same_length():
    text = r"- **Sum:** \(\frac{1{,}200}{\text{4}} &= \boxed{300} \text{ m}\) `x` \unknown"
    assert len(plain_text(text)) == len(text)
    assert plain_text(text).index("300") == text.index("300")
