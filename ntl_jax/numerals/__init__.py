# SPDX-License-Identifier: Apache-2.0
"""Which token stands for which digit of which number, and what it should have been.

`NumberTable` says which tokens of a vocabulary are numbers; `TokenDecoder` which token wrote which character;
`find_answer` and `find_equations` which characters have a true value; `label_response` puts them together;
`agrees` says whether an answer is right.
"""

from ntl_jax.numerals.alignment import Alignment, align
from ntl_jax.numerals.answers.answer import (
    DEFAULT_MARKERS,
    Answer,
    AnswerMarkers,
    agrees,
    answer_at,
    find_answer,
    find_text_answer,
    parse_numeral,
    reference_number,
)
from ntl_jax.numerals.equations.finder import Equation, find_equations
from ntl_jax.numerals.labels import DigitLabels, label_response, number_targets
from ntl_jax.numerals.places import DigitPlaces, digit_places
from ntl_jax.numerals.spans import Numeral, find_numerals
from ntl_jax.numerals.table import NumberTable
from ntl_jax.numerals.tokens import TokenDecoder, sampled_numbers

__all__ = [
    "DEFAULT_MARKERS",
    "Alignment",
    "Answer",
    "AnswerMarkers",
    "DigitLabels",
    "DigitPlaces",
    "Equation",
    "NumberTable",
    "Numeral",
    "TokenDecoder",
    "agrees",
    "align",
    "answer_at",
    "digit_places",
    "find_answer",
    "find_equations",
    "find_numerals",
    "find_text_answer",
    "label_response",
    "number_targets",
    "parse_numeral",
    "reference_number",
    "sampled_numbers",
]
