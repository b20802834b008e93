# SPDX-License-Identifier: Apache-2.0
"""Which token stands for which digit of which number, and what it should have been.

`NumberTable` says which tokens of a vocabulary are numbers; `TokenDecoder` which token wrote which character;
`find_answer` and `find_equations` which characters have a true value; `label_response` puts them together;
`agrees` says whether an answer is right, `relative_error` and its like how near it is.
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
from ntl_jax.numerals.errors import (
    digits_right,
    leading_digits_right,
    order_of_magnitude,
    relative_error,
    symmetric_error,
)
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
    "digits_right",
    "find_answer",
    "find_equations",
    "find_numerals",
    "find_text_answer",
    "label_response",
    "leading_digits_right",
    "number_targets",
    "order_of_magnitude",
    "parse_numeral",
    "reference_number",
    "relative_error",
    "sampled_numbers",
    "symmetric_error",
]
