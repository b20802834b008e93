# SPDX-License-Identifier: Apache-2.0
"""Plain text as kinds of tokens, each of which points at its characters."""

import pytest

from ntl_jax.numerals.equations.lexer import tokenize


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("12 + 7 = 19", "n+n=n"), ("12+7=19", "nan=n"), ("12 +7", "n+n"), ("3 x 4", "n*n"), ("3x4", "nmn"),
        ("0x4", "n?n"), ("2x", "n?"), ("x2", "v?n"), ("2(3)", "nj(n)"), ("f(3)", "v?(n)"), ("$5.50", "n"),
        ("20% of 50", "n%fn"), ("half of the 50", "ofn"), ("<<2*3=6>>6", "<nmn=n>n"), ("5 – 3", "nen"),
        ("12 divided by 4", "nDn"), ("3 : 2", "n?n"), ("a: 2", "kpn"), ("1:30", "n?n"), ("7 🍎", "nb"), ("7²", "n?"),
        ("6 ÷ 3", "n/n"), ("10 -- 3", "npn"), ("3.", "np"), ("", ""),
    ],
)  # fmt: skip
def test_a_text_has_these_kinds(text, kinds):
    assert tokenize(text).kinds == kinds


def test_tokens_point_at_their_characters():
    tokens = tokenize("It costs $1,200.50 + 3%")
    spans = [(tokens.word(i), tokens.text[tokens.start(i) : tokens.end(i)]) for i in range(len(tokens.kinds))]
    assert spans == [(word, word) for word in ("It", "costs", "1,200.50", "+", "3", "%")]
