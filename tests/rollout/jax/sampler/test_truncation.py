# SPDX-License-Identifier: Apache-2.0
"""min-p, top-k and top-p against a dense oracle with a sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.rollout.jax.sampler.truncation import Truncation, truncate


def oracle_support(probs: np.ndarray, top_p: float, top_k: int, min_p: float) -> np.ndarray:
    """The tokens left in by min-p, then top-k, then top-p of what is left, in float64; ties stay in together."""
    kept = probs >= min_p * probs.max()
    if top_k:
        kept &= probs >= np.sort(probs)[-min(top_k, len(probs))]
    rest = np.sort(np.where(kept, probs, 0.0))[::-1]
    needed = np.searchsorted(np.cumsum(rest) / rest.sum(), top_p)
    return kept & (probs >= rest[min(needed, kept.sum() - 1)])


@pytest.mark.parametrize("vocab_size", [1, 2, 41, 500])
@pytest.mark.parametrize(
    ("top_p", "top_k", "min_p"),
    [(0.9, 0, 0.0), (0.3, 0, 0.0), (1e-6, 0, 0.0), (1.0, 1, 0.0), (1.0, 7, 0.0), (1.0, 0, 0.1), (0.8, 12, 0.02)],
)
def test_the_support_is_that_of_the_dense_oracle(vocab_size, top_p, top_k, min_p):
    logits = np.random.default_rng(0).normal(0, 3, (64, vocab_size)).astype(np.float32)
    kept = np.asarray(
        truncate(jnp.asarray(logits), Truncation(jnp.float32(top_p), jnp.int32(top_k), jnp.float32(min_p)))
    )
    probs = np.asarray(jax.nn.softmax(logits.astype(np.float64), axis=-1))
    for row in range(len(logits)):
        expected = oracle_support(probs[row], top_p, top_k, min_p)
        np.testing.assert_array_equal(np.isfinite(kept[row]), expected)
        np.testing.assert_array_equal(kept[row][expected], logits[row][expected])


def test_tokens_as_likely_as_the_last_one_in_are_in_too():
    logits = jnp.log(jnp.array([[0.4, 0.2, 0.2, 0.1, 0.1]]))
    for truncation in (Truncation(jnp.float32(0.5), jnp.int32(0), jnp.float32(0)),
                       Truncation(jnp.float32(1.0), jnp.int32(2), jnp.float32(0))):  # fmt: skip
        assert jnp.isfinite(truncate(logits, truncation)).tolist() == [[True, True, True, False, False]]


def test_settings_that_leave_everything_in_change_nothing():
    logits = jax.random.normal(jax.random.key(0), (8, 100)) * 5
    np.testing.assert_array_equal(truncate(logits, Truncation(jnp.float32(1), jnp.int32(0), jnp.float32(0))), logits)
