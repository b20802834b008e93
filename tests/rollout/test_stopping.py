# SPDX-License-Identifier: Apache-2.0
"""Where a stop string ends a response."""

import numpy as np
import pytest

from ntl_jax.data import load_tokenizer
from ntl_jax.numerals import TokenDecoder
from ntl_jax.rollout.stopping import length_to_stop


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
