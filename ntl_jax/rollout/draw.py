# SPDX-License-Identifier: Apache-2.0
"""Drawing one token per row from a distribution, by inverting its cumulative sum."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def uniforms(
    seed: Int[Array, ""], prompt_index: Int[Array, "B"], num_samples: int, num_draws: int
) -> Float[Array, "B G T"]:
    """The random numbers in [0, 1) behind each sample: functions of seed, prompt, sample and position, and no more."""
    key = jax.random.key(seed)

    def of_sample(prompt, sample):
        sample_key = jax.random.fold_in(jax.random.fold_in(key, prompt), sample)
        return jax.vmap(lambda t: jax.random.uniform(jax.random.fold_in(sample_key, t)))(jnp.arange(num_draws))

    of_prompt = jax.vmap(of_sample, in_axes=(None, 0))
    return jax.vmap(of_prompt, in_axes=(0, None))(prompt_index, jnp.arange(num_samples))


def draw(log_probs: Float[Array, "B V"], uniform: Float[Array, "B"]) -> Int[Array, "B"]:
    """The token at which the cumulative distribution passes ``uniform``; never one of probability 0.

    Two levels of about sqrt(V): first the block of tokens, then the token in it. One uniform number per row replaces
    the V Gumbel draws of ``jax.random.categorical``.

    Example:
        >>> draw(jnp.log(jnp.array([[0.1, 0.0, 0.6, 0.3]])), jnp.array([0.65])).tolist()
        [2]
    """
    num_rows, vocab_size = log_probs.shape
    block_size = math.isqrt(vocab_size - 1) + 1
    num_blocks = -(-vocab_size // block_size)
    probs = jnp.pad(jnp.exp(log_probs), ((0, 0), (0, num_blocks * block_size - vocab_size)))
    blocks = probs.reshape(num_rows, num_blocks, block_size)
    block_sums = blocks.sum(axis=-1)
    block_cdf = jnp.cumsum(block_sums, axis=-1)
    target = uniform * block_cdf[:, -1]
    block = _first_above(block_cdf, target, block_sums)
    before = jnp.take_along_axis(block_cdf - block_sums, block[:, None], axis=1)
    chosen = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    return block * block_size + _first_above(before + jnp.cumsum(chosen, axis=-1), target, chosen)


def _first_above(cdf: Float[Array, "B n"], target: Float[Array, "B"], mass: Float[Array, "B n"]) -> Int[Array, "B"]:
    """First index whose cumulative sum exceeds the target; rounding never carries it past the last one with mass."""
    last = cdf.shape[1] - 1 - jnp.argmax((mass > 0)[:, ::-1], axis=1)
    return jnp.minimum(jnp.sum(cdf <= target[:, None], axis=1), last).astype(jnp.int32)
