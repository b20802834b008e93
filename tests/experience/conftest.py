# SPDX-License-Identifier: Apache-2.0
"""One policy of one layer, and its passes over number tokens, compiled once for all tests of the experience."""

import jax
import pytest
from flax import nnx

from ntl_jax.experience.digits.forward_pass import DigitPass
from ntl_jax.models import Decoder, ModelConfig, make_mesh
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Params
from ntl_jax.rows.layout import Layout
from ntl_jax.rows.padding import RowShape
from tests.samples import tokenizer

SHAPE = RowShape(row=32, response=24)
DIGITS = NumberTable.from_vocab({**{str(d): 17 + d for d in range(10)}, "Ġ7": 40}, vocab_size=512)
"""The tokenizer's ids of digits, and a second token of 7."""
LONG_NUMBERS = NumberTable.from_vocab(
    {**{str(d): d for d in range(10)}, "12": 20, "Ġ12": 21, "57": 22, "90": 23, "123": 30, "130": 31}, "numbers", 512
)
"""Numbers of one to three digits, of which 12 has two tokens."""


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    config = ModelConfig(
        vocab_size=512,
        num_tokens=len(tokenizer()),
        num_layers=1,
        width=16,
        num_heads=2,
        num_kv_heads=1,
        head_dim=8,
        feed_forward=32,
        tie_embeddings=False,
    )
    decoder = Decoder(config, rngs=nnx.Rngs(0))
    assert decoder.unembedding is not None
    decoder.unembedding[...] = decoder.unembedding[...] * 5  # from near-uniform to peaked: a wrong position is seen
    return decoder


def make_pass(decoder: Decoder, numbers: NumberTable) -> DigitPass:
    mesh = make_mesh((1, 1, 1), devices=jax.devices()[:1])
    return DigitPass(nnx.split(decoder)[0], numbers, "wasserstein", Layout("padded", SHAPE), mesh, max_tokens=512)


@pytest.fixture(scope="session")
def digit_pass(decoder) -> DigitPass:
    return make_pass(decoder, DIGITS)


@pytest.fixture(scope="session")
def number_pass(decoder) -> DigitPass:
    return make_pass(decoder, LONG_NUMBERS)


@pytest.fixture(scope="session")
def digits() -> NumberTable:
    return DIGITS


@pytest.fixture(scope="session")
def long_numbers() -> NumberTable:
    return LONG_NUMBERS


@pytest.fixture(scope="session")
def params(decoder) -> Params:
    return nnx.state(decoder, nnx.Param)
