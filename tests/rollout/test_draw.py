# SPDX-License-Identifier: Apache-2.0
"""Drawing by the cumulative distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.rollout.draw import draw, uniforms


@pytest.mark.parametrize("vocab_size", [1, 2, 7, 64, 500])
def test_the_drawn_token_is_the_one_at_which_the_cumulative_distribution_passes_the_number(vocab_size):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(vocab_size, 0.3), size=200)
    uniform = rng.uniform(size=200)
    expected = (np.cumsum(probs, axis=1) <= uniform[:, None]).sum(axis=1)
    actual = np.asarray(draw(jnp.log(jnp.asarray(probs, jnp.float32)), jnp.asarray(uniform, jnp.float32)))
    near_an_edge = np.abs(np.cumsum(probs, axis=1) - uniform[:, None]).min(axis=1) < 1e-6
    np.testing.assert_array_equal(actual[~near_an_edge], expected[~near_an_edge])


@pytest.mark.parametrize("uniform", [0.0, 0.5, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_a_token_of_probability_zero_is_never_drawn(uniform):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 50)).astype(np.float32)
    impossible = rng.uniform(size=logits.shape) < 0.9
    impossible[:, 25] = False
    log_probs = jax.nn.log_softmax(jnp.where(impossible, -jnp.inf, logits), axis=-1)
    tokens = np.asarray(draw(log_probs, jnp.full(300, uniform, jnp.float32)))
    assert not impossible[np.arange(300), tokens].any()


def test_frequencies_follow_the_distribution():
    probs = np.array([0.02, 0.5, 0.08, 0.3, 0.1])
    num = 100_000
    uniform = uniforms(jnp.uint32(3), jnp.arange(100, dtype=jnp.uint32), 10, 100).reshape(-1)
    tokens = draw(jnp.broadcast_to(jnp.log(probs), (num, 5)).astype(jnp.float32), uniform)
    counts = np.bincount(np.asarray(tokens), minlength=5)
    chi_square = np.sum((counts - num * probs) ** 2 / (num * probs))
    assert chi_square < 18.47  # 0.999 quantile at 4 degrees of freedom


def test_random_numbers_depend_on_prompt_and_sample_and_not_on_their_place():
    together = uniforms(jnp.uint32(7), jnp.array([4, 9], jnp.uint32), 3, 5)
    alone = uniforms(jnp.uint32(7), jnp.array([9], jnp.uint32), 2, 4)
    np.testing.assert_array_equal(together[1, :2, :4], alone[0])
    assert len(np.unique(together)) == together.size
