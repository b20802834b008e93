# SPDX-License-Identifier: Apache-2.0
"""Drawing one token per row from a distribution, by inverting its cumulative sum."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def uniforms(
    seeds: Int[Array, "X"],
    prompt_draw: Int[Array, "X"],
    sample_index: Int[Array, "X"],
    first: Int[Array, "X"],
    num_draws: int,
) -> Float[Array, "num_draws X"]:
    """The random numbers in [0, 1) for positions first, first + 1, ... of each sample.

    They depend only on the sample's seed, the prompt's draw, the sample's index and the position.
    """

    def of_sample(
        seed: Int[Array, ""], prompt_draw: Int[Array, ""], sample: Int[Array, ""], first: Int[Array, ""]
    ) -> Float[Array, "num_draws"]:
        sample_key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), prompt_draw), sample)
        return jax.vmap(lambda t: jax.random.uniform(jax.random.fold_in(sample_key, first + t)))(jnp.arange(num_draws))

    return jax.vmap(of_sample, out_axes=1)(seeds, prompt_draw, sample_index, first)


def draw(weights: Float[Array, "X V"], uniform: Float[Array, "X"]) -> Int[Array, "X"]:
    """The token at which the weights' cumulative sum passes ``uniform`` times their total; never a token of weight 0.

    Searches two levels of about sqrt(V): first the block of tokens, then the token in the block. One uniform number per
    row replaces the V Gumbel draws of ``jax.random.categorical``.

    Args:
        weights: probabilities up to a factor per row, float32.
        uniform: in [0, 1).

    Example:
        >>> draw(jnp.array([[1.0, 0.0, 6.0, 3.0]]), jnp.array([0.65])).tolist()
        [2]
    """
    num_rows, vocab_size = weights.shape
    block_size = _block_size(vocab_size)
    num_blocks = -(-vocab_size // block_size)
    blocks = jnp.pad(weights, ((0, 0), (0, num_blocks * block_size - vocab_size)))
    blocks = blocks.reshape(num_rows, num_blocks, block_size)
    block_sums = blocks.sum(axis=-1)
    block_cdf = jnp.cumsum(block_sums, axis=-1)
    target = uniform * block_cdf[:, -1]
    block = _first_above(block_cdf, target, block_sums)
    before = jnp.take_along_axis(block_cdf - block_sums, block[:, None], axis=1)
    chosen = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    return block * block_size + _first_above(before + jnp.cumsum(chosen, axis=-1), target, chosen)


def _block_size(vocab_size: int) -> int:
    """About sqrt(V): if possible a nearby divisor of V, since padding would copy the weights."""
    root = math.isqrt(vocab_size - 1) + 1
    divisors = (size for size in range(max(1, root // 4), 4 * root) if vocab_size % size == 0)
    return min(divisors, key=lambda size: max(size / root, root / size), default=root)


def _first_above(cdf: Float[Array, "X n"], target: Float[Array, "X"], mass: Float[Array, "X n"]) -> Int[Array, "X"]:
    """First index whose cumulative sum exceeds the target; rounding never moves it past the last index with mass."""
    last = cdf.shape[1] - 1 - jnp.argmax((mass > 0)[:, ::-1], axis=1)
    return jnp.minimum(jnp.sum(cdf <= target[:, None], axis=1), last).astype(jnp.int32)
