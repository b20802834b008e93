# SPDX-License-Identifier: Apache-2.0
"""Drawing by the cumulative distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.rollout.jax.sampler.inverse_cdf import draw, uniforms


@pytest.mark.parametrize("vocab_size", [1, 2, 7, 64, 500])
def test_the_drawn_token_is_the_one_at_which_the_cumulative_distribution_passes_the_number(vocab_size):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(vocab_size, 0.3), size=200)
    uniform = rng.uniform(size=200)
    expected = (np.cumsum(probs, axis=1) <= uniform[:, None]).sum(axis=1)
    actual = np.asarray(draw(jnp.asarray(probs * 3, jnp.float32), jnp.asarray(uniform, jnp.float32)))
    near_an_edge = np.abs(np.cumsum(probs, axis=1) - uniform[:, None]).min(axis=1) < 1e-6
    np.testing.assert_array_equal(actual[~near_an_edge], expected[~near_an_edge])


@pytest.mark.parametrize("uniform", [0.0, 0.5, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_a_token_of_probability_zero_is_never_drawn(uniform):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 50)).astype(np.float32)
    impossible = rng.uniform(size=logits.shape) < 0.9
    impossible[:, 25] = False
    probs = jax.nn.softmax(jnp.where(impossible, -jnp.inf, logits), axis=-1)
    tokens = np.asarray(draw(probs, jnp.full(300, uniform, jnp.float32)))
    assert not impossible[np.arange(300), tokens].any()


def uniforms_of(
    prompts: list[int], num_samples: int, num_draws: int, *, first: int = 0, seeds: tuple[int, ...] = (3,)
) -> np.ndarray:
    """[prompts, samples, draws]; one seed for all prompts, or one each."""
    by_prompt = jnp.broadcast_to(jnp.array(seeds, jnp.uint32), len(prompts))
    prompt_index = jnp.repeat(jnp.array(prompts, jnp.uint32), num_samples)
    sample_index = jnp.tile(jnp.arange(num_samples), len(prompts))
    starts = jnp.full(len(prompt_index), first)
    random = uniforms(jnp.repeat(by_prompt, num_samples), prompt_index, sample_index, starts, num_draws)
    return np.asarray(random).T.reshape(len(prompts), num_samples, num_draws)


def test_frequencies_follow_the_distribution():
    probs = np.array([0.02, 0.5, 0.08, 0.3, 0.1])
    num = 100_000
    uniform = uniforms_of(list(range(100)), 10, 100).reshape(-1)
    tokens = draw(jnp.broadcast_to(jnp.asarray(probs, jnp.float32), (num, 5)), jnp.asarray(uniform))
    counts = np.bincount(np.asarray(tokens), minlength=5)
    chi_square = np.sum((counts - num * probs) ** 2 / (num * probs))
    assert chi_square < 18.47  # 0.999 quantile at 4 degrees of freedom


def test_random_numbers_depend_on_prompt_sample_and_position_and_not_on_their_place():
    together = uniforms_of([4, 9], 3, 40)
    np.testing.assert_array_equal(together[1, :2, :4], uniforms_of([9], 2, 4)[0])
    np.testing.assert_array_equal(together[:, :, 16:32], uniforms_of([4, 9], 3, 16, first=16))
    assert len(np.unique(together)) == together.size


def test_each_sample_draws_by_its_own_seed():
    together = uniforms_of([4, 4, 9], 2, 8, seeds=(2**32 - 1, 0, 5))
    for row, (prompt, seed) in enumerate([(4, 2**32 - 1), (4, 0), (9, 5)]):
        np.testing.assert_array_equal(together[row], uniforms_of([prompt], 2, 8, seeds=(seed,))[0])
    assert len(np.unique(together)) == together.size
