# SPDX-License-Identifier: Apache-2.0
"""Claims about NumberTable: which tokens are numbers, in real vocabularies and in hostile ones."""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, models

from ntl_jax.numerals.table import NumberTable
from tests.small_tokenizers import make_tokenizer

# The number tokens of four real tokenizers, as their vocabularies store them.
NUMBER_TOKENS = json.loads((pathlib.Path(__file__).parent / "number_tokens.json").read_text())
NUM_DIGIT_IDS = {"qwen2.5": 10, "mistral-v3": 10, "cl100k_base": 10, "gpt2": 20}
NUM_NUMBER_IDS = {"qwen2.5": 10, "mistral-v3": 10, "cl100k_base": 1110, "gpt2": 994 + 697}
DIGITS = {str(d): d for d in range(10)}


def vocab_of(name):
    facts = NUMBER_TOKENS[name]
    return dict(zip(facts["pieces"].split(" "), facts["ids"], strict=True)), facts["vocab_size"]


@pytest.mark.parametrize("name", NUMBER_TOKENS)
def test_the_four_real_vocabularies_have_the_known_numbers_of_tokens(name):
    vocab, vocab_size = vocab_of(name)
    digits = NumberTable.from_vocab(vocab, "digits", vocab_size)
    numbers = NumberTable.from_vocab(vocab, "numbers", vocab_size)
    assert digits.ids.shape == (NUM_DIGIT_IDS[name],)
    assert numbers.ids.shape == (NUM_NUMBER_IDS[name],)
    assert digits.token_values.shape == numbers.token_values.shape == (vocab_size,)
    assert set(digits.values.tolist()) == set(map(float, range(10)))


@pytest.mark.parametrize("name", NUMBER_TOKENS)
def test_entries_are_sorted_by_value_then_id_and_agree_with_token_values(name):
    vocab, vocab_size = vocab_of(name)
    table = NumberTable.from_vocab(vocab, "numbers", vocab_size)
    ids, values = np.asarray(table.ids), np.asarray(table.values)
    assert np.array_equal(np.lexsort((ids, values)), np.arange(ids.size))
    assert np.array_equal(np.asarray(table.token_values)[ids], values)
    assert np.isnan(np.asarray(table.token_values)).sum() == vocab_size - ids.size
    by_id = {token_id: np.float32(int(piece.lstrip("Ġ▁"))) for piece, token_id in vocab.items()}
    assert all(by_id[token_id] == value for token_id, value in zip(ids.tolist(), values, strict=True))


@pytest.mark.parametrize(
    ("kind", "num_numbers"),
    [("built-in", 10), ("digits", 10), ("digits after ▁", 10), ("numbers", 1110), ("numbers after a space", 610 + 110)],
)
def test_the_number_tokens_of_a_tokenizer_are_those_that_it_writes(kind, num_numbers):
    tokenizer = make_tokenizer(kind)
    table = NumberTable.from_tokenizer(tokenizer, "numbers", 2048)
    assert table.ids.shape == (num_numbers,)
    written = [tokenizer.decode([i]).strip() for i in table.ids.tolist()]
    assert [float(text) for text in written] == table.values.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "4.5",
        "1e5",
        "1_000",
        "-3",
        "+3",
        "1/2",
        "²",
        "٣",
        "\uff17",
        "½",
        "<0x37>",
        "##7",
        "7%",
        "ĠĠ7",
        " ",
        "Ġ",
        "",
        "7\n",
        "x7",
    ],
)
def test_a_piece_that_holds_anything_but_ascii_digits_is_no_number(text):
    table = NumberTable.from_vocab(DIGITS | {text: 10}, kind="numbers")
    assert table.ids.tolist() == list(range(10))
    assert np.isnan(table.token_values[10])


@pytest.mark.parametrize(
    ("text", "value"), [("Ġ12", 12), ("▁12", 12), (" 12", 12), ("012", 12), ("000", 0), ("12345678901", 12345678901)]
)
def test_a_run_of_digits_with_or_without_a_space_marker_is_a_number(text, value):
    table = NumberTable.from_vocab(DIGITS | {text: 10}, kind="numbers")
    assert table.token_values[10] == np.float32(value)
    assert np.isnan(NumberTable.from_vocab(DIGITS | {text: 10}, kind="digits").token_values[10])


def test_numbers_beyond_float32_are_left_out_and_do_not_break_the_table():
    table = NumberTable.from_vocab(DIGITS | {"9" * 39: 10, "1" * 5000: 11, "0" * 64: 12}, kind="numbers")
    assert table.ids.tolist() == [0, 12, *range(1, 10)]


def test_the_vocabulary_may_have_holes_and_the_model_more_tokens_than_it():
    vocab = {str(d): 100 + d for d in range(10)} | {"<special>": 500}
    assert NumberTable.from_vocab(vocab).token_values.shape == (501,)
    assert NumberTable.from_vocab(vocab, vocab_size=512).token_values.shape == (512,)


@pytest.mark.parametrize(
    ("vocab", "settings", "message"),
    [
        ({"a": 0, "b": 1}, {"kind": "digits"}, "none of the vocabulary's 2 tokens"),
        ({"a": 0, "4.5": 1}, {"kind": "numbers"}, "none of the vocabulary's 2 tokens"),
        ({}, {"kind": "numbers"}, "none of the vocabulary's 0 tokens"),
        ({str(d): d for d in range(9)}, {"kind": "digits"}, r"no token for the digits \[9\]"),
        (DIGITS, {"kind": "metrics"}, r"kind='metrics' is unknown: use one of \['digits', 'numbers'\]"),
        (DIGITS, {"vocab_size": 8}, r"ids \[8, 9\] lie outside \[0, 8\): pass vocab_size=logits.shape"),
        (DIGITS | {"Ġ7": 3}, {}, "id 3 stands for both 3 and 7"),
    ],
)
def test_a_vocabulary_that_cannot_serve_is_refused_with_the_reason(vocab, settings, message):
    with pytest.raises(ValueError, match=message):
        NumberTable.from_vocab(vocab, **settings)


def test_an_object_without_a_vocabulary_is_refused_with_the_way_out():
    name: Any = "Qwen/Qwen2.5-0.5B"
    with pytest.raises(ValueError, match=r"str has no get_vocab.*from_vocab"):
        NumberTable.from_tokenizer(name)


def test_two_pieces_may_share_one_id_if_they_share_the_value():
    assert NumberTable.from_vocab(DIGITS | {"Ġ7": 7}).ids.tolist() == list(range(10))


def test_any_object_with_get_vocab_serves_and_is_not_changed():
    vocab = {"?": 0, **{f"▁{d}": d + 1 for d in range(10)}}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="?"))
    before = tokenizer.to_str()
    assert NumberTable.from_tokenizer(tokenizer, "digits", 16).ids.tolist() == list(range(1, 11))
    assert tokenizer.to_str() == before


def test_the_table_is_a_pytree_with_four_leaves_and_its_kind_as_metadata():
    table = NumberTable.from_vocab(DIGITS)
    leaves, structure = jax.tree.flatten(table)
    assert len(leaves) == 4
    assert jax.tree.unflatten(structure, leaves).kind == "digits"
    as_argument = jax.jit(lambda table: table.values[table.ids].sum())(table)
    in_closure = jax.jit(lambda: table.values[table.ids].sum())()
    assert as_argument == in_closure == 45.0


def test_merging_adds_the_probabilities_of_the_ids_of_a_value():
    table = NumberTable.from_vocab({str(d): 2 * d for d in range(10)} | {f"Ġ{d}": 2 * d + 1 for d in range(5)})
    log_probs = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 15)), axis=-1)
    merged = jax.jit(NumberTable.merge_by_value)(table, log_probs)
    expected = [jnp.exp(log_probs[:, table.values == d]).sum(axis=-1) for d in range(10)]
    np.testing.assert_allclose(np.exp(merged), np.stack(expected, axis=-1), rtol=1e-6)


def test_merging_ten_ids_changes_nothing():
    log_probs = jax.random.normal(jax.random.key(0), (3, 10))
    assert jnp.array_equal(NumberTable.from_vocab(DIGITS).merge_by_value(log_probs), log_probs)


def test_merging_impossible_ids_gives_minus_infinity_without_nan_in_value_or_gradient():
    table = NumberTable.from_vocab(DIGITS | {"Ġ7": 10, "Ġ8": 11})
    log_probs = jnp.where((table.values == 7)[None, :], -jnp.inf, -1.0)
    merged = table.merge_by_value(log_probs)
    assert merged[0, 7] == -jnp.inf
    assert merged[0, 8] == pytest.approx(np.log(2) - 1)
    gradient = jax.grad(lambda x: jnp.exp(table.merge_by_value(x)).sum())(log_probs)
    np.testing.assert_allclose(gradient, np.exp(log_probs), rtol=1e-6)


def test_merging_refuses_tables_of_numbers_and_arrays_of_another_length():
    with pytest.raises(ValueError, match='needs kind="digits"'):
        NumberTable.from_vocab(DIGITS | {"10": 10}, kind="numbers").merge_by_value(jnp.zeros(11))
    with pytest.raises(ValueError, match="must hold the table's 10 ids"):
        NumberTable.from_vocab(DIGITS).merge_by_value(jnp.zeros(11))
