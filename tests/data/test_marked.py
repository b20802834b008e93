# SPDX-License-Identifier: Apache-2.0
"""Nothing of a text is lost where its tokens are marked."""

import numpy as np
import pytest

from ntl_jax.data import load_tokenizer
from ntl_jax.data.marked import Piece, mark_tokens
from ntl_jax.numerals import NumberTable
from tests.small_tokenizers import KINDS, make_tokenizer

TEXT = "Tom has 12 cups – é, 7 more: 19."


def marked(tokenizer, ids, truth=None):
    values = np.asarray(NumberTable.from_tokenizer(tokenizer, kind="digits").token_values)
    return mark_tokens(ids, tokenizer, values, truth)


@pytest.mark.parametrize("tokenizer", [load_tokenizer(), make_tokenizer(KINDS[0])], ids=["built-in", "other"])
def test_pieces_join_to_the_text_and_digits_are_pieces_of_their_own(tokenizer):
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    pieces = marked(tokenizer, ids)
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert "".join(piece.text for piece in pieces) == text
    assert "".join(piece.text for piece in pieces if piece.mark == "number").replace(" ", "") == "12719"


def test_special_tokens_and_true_numbers_are_marked():
    tokenizer = load_tokenizer()
    ids = tokenizer("<|endoftext|>so 12")["input_ids"]
    truth = [-1] * len(ids)
    truth[-1] = 5
    pieces = marked(tokenizer, ids, truth)
    assert [str(piece) for piece in pieces] == ["[[<|endoftext|>]]", "so ", "{1}", "{2:5}"]
    assert pieces[-1] == Piece("truth", "2", 5)
    assert marked(tokenizer, []) == []
