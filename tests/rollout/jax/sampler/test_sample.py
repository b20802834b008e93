# SPDX-License-Identifier: Apache-2.0
"""What is captured with a token comes from the distribution that the token is drawn from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.rollout.jax.sampler.sample import NUM_ALTERNATIVES, Method, sample
from ntl_jax.rollout.jax.sampler.truncation import Truncation

EVERYTHING = Method(False, True, capture_digits=True, capture_entropy=True, capture_alternatives=True)
WHOLE = Truncation(jnp.float32(1.0), jnp.int32(0), jnp.float32(0.0))
LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(3, 40)) * 2, jnp.float32)
UNIFORM = jnp.array([0.1, 0.5, 0.9])


def sampled(table, method: Method = EVERYTHING, temperature=1.0, truncation=WHOLE, num_tokens=None) -> Any:
    """Logits come as hidden states, with the identity as head."""
    step = jax.jit(sample, static_argnums=(0, 7))
    return step(method, LOGITS, jnp.eye(40), table, UNIFORM, jnp.float32(temperature), truncation, num_tokens)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_log_probs_digits_entropy_and_alternatives_are_those_of_the_softmax(table, temperature):
    captured = sampled(table, temperature=temperature)
    log_probs = np.asarray(jax.nn.log_softmax(LOGITS / temperature))
    np.testing.assert_allclose(captured.log_probs, log_probs[np.arange(3), captured.tokens], atol=1e-5)
    assert captured.entropy is not None
    np.testing.assert_allclose(captured.entropy, -(np.exp(log_probs) * log_probs).sum(axis=-1), atol=1e-5)
    assert captured.digit_log_probs.shape == (3, 10)
    np.testing.assert_allclose(captured.digit_log_probs[:, 3], log_probs[:, 3], atol=1e-5)
    both_sevens = np.logaddexp(log_probs[:, 7], log_probs[:, 12])
    np.testing.assert_allclose(captured.digit_log_probs[:, 7], both_sevens, atol=1e-5)
    best = np.argsort(-log_probs)[:, :NUM_ALTERNATIVES]
    np.testing.assert_array_equal(captured.alternative_ids, best)
    assert captured.alternative_log_probs is not None
    np.testing.assert_allclose(captured.alternative_log_probs, np.take_along_axis(log_probs, best, axis=1), atol=1e-5)


def test_a_truncated_distribution_is_renormalized_and_its_entropy_stays_finite(table):
    captured = sampled(table, truncation=WHOLE._replace(top_k=jnp.int32(2)))
    two = jax.nn.log_softmax(jax.lax.top_k(LOGITS, 2)[0])
    assert captured.entropy is not None
    np.testing.assert_allclose(captured.entropy, -(jnp.exp(two) * two).sum(axis=-1), atol=1e-5)
    np.testing.assert_allclose(captured.alternative_log_probs[:, :2], two, atol=1e-5)
    assert np.all(np.isneginf(captured.alternative_log_probs[:, 2:]))


def test_the_greedy_choice_is_the_likeliest_token_and_reports_temperature_one(table):
    captured = sampled(table, EVERYTHING._replace(greedy=True, truncated=False), temperature=0.0)
    np.testing.assert_array_equal(captured.tokens, np.argmax(LOGITS, axis=-1))
    np.testing.assert_allclose(captured.log_probs, np.max(jax.nn.log_softmax(LOGITS), axis=-1), atol=1e-5)


def test_nothing_is_captured_that_was_not_asked_for_and_padding_ids_are_never_drawn(table):
    captured = sampled(table, Method(False, False, False, False, False), num_tokens=13)
    assert [x is None for x in captured] == [False, False, True, True, True, True]
    assert np.all(np.asarray(captured.tokens) < 13)
    np.testing.assert_allclose(
        captured.log_probs, jax.nn.log_softmax(LOGITS[:, :13])[np.arange(3), captured.tokens], atol=1e-5
    )
