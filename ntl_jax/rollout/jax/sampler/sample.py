# SPDX-License-Identifier: Apache-2.0
"""From hidden states to tokens and captured log-probs, all from the same softmax."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntl_jax.numerals import NumberTable
from ntl_jax.ops import head_logits
from ntl_jax.records import AnyArray, Sampling
from ntl_jax.rollout.jax.sampler.inverse_cdf import draw
from ntl_jax.rollout.jax.sampler.truncation import Truncation, truncate

NUM_ALTERNATIVES = 5


class Method(NamedTuple):
    """Static sampling settings, compiled into a program: how to choose a token, and what to capture."""

    greedy: bool
    truncated: bool
    capture_digits: bool
    capture_entropy: bool
    capture_alternatives: bool


def method_of(sampling: Sampling) -> Method:
    """The static part of sampling parameters."""
    greedy = sampling.temperature == 0
    return Method(
        greedy=greedy,
        truncated=not greedy and sampling.is_truncated,
        capture_digits=sampling.capture_digits,
        capture_entropy=sampling.capture_entropy,
        capture_alternatives=sampling.capture_alternatives,
    )


class Captured(NamedTuple):
    """Tokens and captured values at one position of every slot."""

    tokens: Int[AnyArray, "X"]
    log_probs: Float[AnyArray, "X"]
    digit_log_probs: Float[AnyArray, "X 10"] | None
    entropy: Float[AnyArray, "X"] | None
    alternative_ids: Int[AnyArray, "X 5"] | None
    alternative_log_probs: Float[AnyArray, "X 5"] | None


def sample(
    method: Method,
    hidden: Float[Array, "X D"],
    head: Float[Array, "D V"],
    table: NumberTable,
    uniform: Float[Array, "X"],
    temperature: Float[Array, ""],
    truncation: Truncation,
    num_tokens: int | None,
) -> Captured:
    """Draws a token per row, in float32. Greedy sampling reports the full distribution at temperature 1."""
    logits = head_logits(hidden, head, 1.0 if method.greedy else temperature, num_tokens)
    if method.truncated:
        logits = truncate(logits, truncation)
    peak = jnp.max(logits, axis=-1)
    weights = jnp.exp(logits - peak[:, None])
    total = jnp.sum(weights, axis=-1)
    log_normalizer = peak + jnp.log(total)
    tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32) if method.greedy else draw(weights, uniform)
    digits = entropy = ids = alternatives = None
    if method.capture_digits:
        digits = table.merge_by_value(logits[:, table.ids] - log_normalizer[:, None])
    if method.capture_entropy:
        surprise = jnp.where(weights > 0, log_normalizer[:, None] - logits, 0.0)
        entropy = jnp.sum(weights * surprise, axis=-1) / total
    if method.capture_alternatives:
        alternatives, ids = jax.lax.top_k(logits, NUM_ALTERNATIVES)
        alternatives -= log_normalizer[:, None]
    chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0] - log_normalizer
    return Captured(tokens, chosen, digits, entropy, ids, alternatives)
