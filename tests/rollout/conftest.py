# SPDX-License-Identifier: Apache-2.0
"""One small policy for all tests of the engine."""

from typing import Any

import pytest
from flax import nnx

from ntl_jax.models import Decoder, ModelConfig
from ntl_jax.numerals import NumberTable

SIZES: dict[str, Any] = {"num_layers": 2, "width": 32, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8}
LOGIT_SCALE = 3.0  # from near-uniform to a peaked policy: wrong log-probs differ visibly, samples still vary


@pytest.fixture(scope="session")
def table() -> NumberTable:
    return NumberTable.from_vocab({**{str(d): d for d in range(10)}, "Ġ7": 12}, vocab_size=40)


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    decoder = Decoder(ModelConfig(vocab_size=40, feed_forward=64, **SIZES, tie_embeddings=False), rngs=nnx.Rngs(0))
    assert decoder.unembedding is not None
    decoder.unembedding[...] = decoder.unembedding[...] * LOGIT_SCALE
    return decoder
