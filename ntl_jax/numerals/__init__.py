# SPDX-License-Identifier: Apache-2.0
"""Which token stands for which digit of which number, and what it should have been.

`NumberTable` says which tokens of a vocabulary are numbers; `TokenDecoder` which token wrote which character;
`find_answer` which characters are the answer; `label_final_answer` puts the three together for a response.
"""

from ntl_jax.numerals.alignment import Alignment, DigitLabels, align_final_answer, label_final_answer
from ntl_jax.numerals.spans import Numeral, find_answer, find_marked_answer, find_numerals, parse_numeral
from ntl_jax.numerals.table import NumberTable
from ntl_jax.numerals.tokens import TokenDecoder, sampled_digits

__all__ = [
    "Alignment",
    "DigitLabels",
    "NumberTable",
    "Numeral",
    "TokenDecoder",
    "align_final_answer",
    "find_answer",
    "find_marked_answer",
    "find_numerals",
    "label_final_answer",
    "parse_numeral",
    "sampled_digits",
]
