# SPDX-License-Identifier: Apache-2.0
"""The log-probability of all number tokens together, and its gradient where there is none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ntl_jax.losses.numbers.mass import number_log_mass

IDS = jnp.array([0, 2])


@functools.partial(jax.jit, static_argnums=1)
def log_mass(logits, defined=True):
    return number_log_mass(logits, logits[..., IDS], jnp.full(logits.shape[:-1], defined))


def test_it_is_the_logarithm_of_the_sum_of_the_probabilities():
    logits = jnp.log(jnp.array([[0.1, 0.2, 0.3, 0.4]]))
    np.testing.assert_allclose(log_mass(logits + 3.0), [np.log(0.4)], rtol=1e-6)


def test_impossible_numbers_and_undefined_positions_have_minus_infinity_and_no_gradient():
    logits = jnp.array([[-jnp.inf, 0.0, -jnp.inf, 1.0]])
    assert log_mass(logits).tolist() == [-np.inf]
    for given, defined in ((logits, True), (jnp.full((1, 4), jnp.nan), False)):
        gradient = jax.grad(lambda x, defined=defined: jnp.sum(jnp.exp(log_mass(x, defined))))(given)
        assert gradient.tolist() == [[0.0] * 4]


def test_its_gradient_is_the_share_among_numbers_less_the_probability():
    logits = jnp.log(jnp.array([[0.1, 0.2, 0.3, 0.4]]))
    gradient = jax.grad(lambda x: jnp.sum(log_mass(x)))(logits)
    np.testing.assert_allclose(gradient, [[0.25 - 0.1, -0.2, 0.75 - 0.3, -0.4]], rtol=1e-5)
