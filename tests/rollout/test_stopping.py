# SPDX-License-Identifier: Apache-2.0
"""Where a stop string ends a response."""

import numpy as np
import pytest

from ntl_jax.data import load_tokenizer
from ntl_jax.numerals import TokenDecoder
from ntl_jax.records import Sampling
from ntl_jax.rollout.stopping import length_to_stop, with_stop_ids
from tests.small_tokenizers import make_tokenizer

SPECIAL = {
    "digits": "<|im_end|>",
    "digits after ▁": "[/INST]",
    "numbers": "<|fim_prefix|>",
    "numbers after a space": "<|endoftext|>",
}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.mark.parametrize("stops", [["#### "], ["12"], ["\n\n", "12"], ["é"], ["+7=19\n####"]])
def test_the_response_ends_with_the_token_that_completes_the_string(tokenizer, stops):
    ids = np.array(tokenizer.encode("Tom has 12+7=19\n#### 19 cafés\n\nTom", add_special_tokens=False))
    decode = TokenDecoder(tokenizer)
    length = length_to_stop(ids, stops, decode)
    assert length is not None
    assert any(stop in decode(ids[:length])[0] for stop in stops)
    assert not any(stop in decode(ids[: length - 1])[0] for stop in stops)


def test_without_the_string_the_response_goes_on(tokenizer):
    ids = np.array(tokenizer.encode("12+7=19", add_special_tokens=False))
    assert length_to_stop(ids, ["20"], TokenDecoder(tokenizer)) is None


@pytest.mark.parametrize(("kind", "token"), SPECIAL.items())
def test_a_special_token_as_stop_string_is_a_stop_id_and_is_refused_with_other_text(kind, token):
    tokenizer = make_tokenizer(kind)
    token_id = tokenizer.convert_tokens_to_ids(token)
    sampling = Sampling(1, 1, stop_token_ids=(7,), stop_strings=("####", token, "\n\n", token))
    read = with_stop_ids(sampling, tokenizer)
    assert (read.stop_token_ids, read.stop_strings) == ((7, token_id), ("####", "\n\n"))
    assert with_stop_ids(read, tokenizer) == read
    for mixed in (f"{token}\n", f"Q:{token}", token * 2):
        with pytest.raises(ValueError, match=r"would never be found: the special token .* decodes to no text; pass"):
            with_stop_ids(Sampling(1, 1, stop_strings=("x", mixed)), tokenizer)


def test_an_added_token_that_decodes_to_text_stays_a_stop_string():
    tokenizer = make_tokenizer("digits")
    sampling = Sampling(1, 1, stop_strings=("<tool_call>", "</tool_call>\n"))
    assert with_stop_ids(sampling, tokenizer) == sampling
    ids = np.array(tokenizer.encode("12<tool_call>3"))
    assert length_to_stop(ids, sampling.stop_strings, TokenDecoder(tokenizer)) == 3
