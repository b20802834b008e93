# SPDX-License-Identifier: Apache-2.0
"""Texts are cut into words as the models' own tokenizers cut them."""

import pytest

from ntl_jax.models.gguf.pre_tokenizers import pre_tokenizer

TEXT = "I've 1234  7\n\nÉtudes: x+=1"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-2", ["I", "'ve", "Ġ1234", "Ġ", "Ġ7", "Ċ", "Ċ", "Ãītudes", ":", "Ġx", "+=", "1"]),
        ("smollm", ["I", "'ve", "Ġ", "1", "2", "3", "4", "ĠĠ", "7", "Ċ", "Ċ", "Ãītudes", ":", "Ġx", "+=", "1"]),
        ("qwen2", ["I", "'ve", "Ġ", "1", "2", "3", "4", "Ġ", "Ġ", "7", "ĊĊ", "Ãītudes", ":", "Ġx", "+=", "1"]),
        ("llama-bpe", ["I", "'ve", "Ġ", "123", "4", "Ġ", "Ġ", "7", "ĊĊ", "Ãītudes", ":", "Ġx", "+=", "1"]),
        ("tekken", ["I", "'ve", "Ġ", "1", "2", "3", "4", "Ġ", "Ġ", "7", "ĊĊ", "Ãītudes", ":", "Ġx", "+=", "1"]),
    ],
)
def test_numbers_and_spaces_are_cut_as_each_model_does(name, words):
    assert [word for word, _ in pre_tokenizer(name).pre_tokenize_str(TEXT)] == words


def test_an_unknown_way_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"tokenizer.ggml.pre='jais' is not .*; known: gpt-2, smollm, llama"):
        pre_tokenizer("jais")
