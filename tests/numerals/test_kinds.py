# SPDX-License-Identifier: Apache-2.0
"""Every token of a response has the kind that a reader would give it."""

import numpy as np
import pytest

from ntl_jax.numerals import TokenDecoder, find_answer, sampled_numbers
from ntl_jax.numerals.kinds import KINDS, token_kinds
from tests.samples import table, tokenizer


def kinds(text: str) -> list[tuple[str, str]]:
    ids = np.array(tokenizer()(text)["input_ids"])
    read, starts = TokenDecoder(tokenizer())(ids)
    numbers = sampled_numbers(ids, np.asarray(table().token_values))
    found = token_kinds(read, starts, numbers, find_answer(read))
    return [(str(tokenizer().decode([i])), KINDS[kind]) for i, kind in zip(ids.tolist(), found.tolist(), strict=True)]


def test_digits_of_the_answer_other_digits_and_operators_are_told_apart():
    found = [pair for pair in kinds("She has 12+7=19.\n#### 19") if pair[1] != "other"]
    operators = [text.strip() for text, kind in found if kind == "operators"]
    assert operators == ["+", "="]
    assert [text for text, kind in found if kind == "digits"] == ["1", "2", "7", "1", "9"]
    assert [text for text, kind in found if kind == "answer_digits"] == ["1", "9"]


@pytest.mark.parametrize("text", ["I do not know", "####"])
def test_a_response_without_numbers_has_no_digits(text):
    assert {kind for _, kind in kinds(text)} <= {"other"}


def test_without_an_answer_all_digits_are_digits():
    found = token_kinds("12", np.arange(2), np.array([1, 2]), None)
    assert [KINDS[kind] for kind in found] == ["digits", "digits"]
