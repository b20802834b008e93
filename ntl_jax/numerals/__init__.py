# SPDX-License-Identifier: Apache-2.0
"""Which token stands for which digit of which number, and what it should have been.

`NumberTable` says which tokens of a vocabulary are numbers; `TokenDecoder` which token wrote which character;
`find_answer` and `find_equations` which characters have a true value; `label_response` puts them together.
"""

from ntl_jax.numerals.alignment import Alignment, align
from ntl_jax.numerals.equations.finder import Equation, find_equations
from ntl_jax.numerals.labels import DigitLabels, label_response
from ntl_jax.numerals.spans import Numeral, find_answer, find_marked_answer, find_numerals, parse_numeral
from ntl_jax.numerals.table import NumberTable
from ntl_jax.numerals.tokens import TokenDecoder, sampled_numbers

__all__ = [
    "Alignment",
    "DigitLabels",
    "Equation",
    "NumberTable",
    "Numeral",
    "TokenDecoder",
    "align",
    "find_answer",
    "find_equations",
    "find_marked_answer",
    "find_numerals",
    "label_response",
    "parse_numeral",
    "sampled_numbers",
]
