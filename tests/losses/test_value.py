# SPDX-License-Identifier: Apache-2.0
"""Claims about the critic's loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.aggregate import aggregate
from ntl_jax.losses.value import clipped_value_loss


def test_the_larger_of_the_clipped_and_the_plain_error_counts():
    # V = 0, clip 0.5. v = 1, R = 2: the clipped 0.5 is further: 0.5 * 1.5^2. v = 1, R = 0: 0.5 * 1. v = .25: no clip.
    values, returns = jnp.array([1.0, 1.0, 0.25]), jnp.array([2.0, 0.0, 1.0])
    losses = clipped_value_loss(values, jnp.zeros(3), returns)
    np.testing.assert_allclose(losses, [1.125, 0.5, 0.28125], rtol=1e-6)
    gradient = jax.grad(lambda v: clipped_value_loss(v, jnp.zeros(3), returns).sum())(values)
    np.testing.assert_allclose(gradient, [0.0, 1.0, -0.75], rtol=1e-6)


def test_an_infinite_clip_gives_the_squared_error():
    values, returns = jnp.array([3.0, -2.0]), jnp.array([1.0, 5.0])
    losses = clipped_value_loss(values, jnp.zeros(2), returns, clip=float("inf"))
    np.testing.assert_allclose(losses, 0.5 * (values - returns) ** 2)


def test_old_values_and_returns_are_constants():
    x = jnp.array([1.0, -2.0])
    gradients = jax.grad(lambda *args: clipped_value_loss(*args).sum(), argnums=(1, 2))(x, x - 0.1, x + 2.0)
    assert not np.any(gradients)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_bad_values_outside_the_mask_change_neither_value_nor_gradient(bad):
    values, returns = jnp.array([[0.25, bad, 1.0]]), jnp.array([[1.0, bad, 2.0]])
    mask = jnp.array([[True, False, True]])
    value, gradient = jax.value_and_grad(lambda v: aggregate(clipped_value_loss(v, values, returns), mask))(values)
    np.testing.assert_allclose(value, (0.5 * 0.75**2 + 0.5) / 2)
    np.testing.assert_allclose(gradient, [[-0.375, 0.0, -0.5]])


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match=r"values \(2, 3\), old_values \(2, 3\), returns \(2, 4\)"):
        clipped_value_loss(jnp.zeros((2, 3)), jnp.zeros((2, 3)), jnp.zeros((2, 4)))
