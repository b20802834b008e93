# SPDX-License-Identifier: Apache-2.0
"""A token of several digits competes with tokens of as many digits, and costs what a digit costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.numbers import LOSSES, OF_SINGLE_DIGITS, of_same_width, to_digit_scale
from ntl_jax.numerals import NumberTable

TABLE = NumberTable.from_vocab({"x": 0, "7": 1, "10": 2, "43": 3, "345": 4}, kind="numbers")
LOG_PROBS = jnp.log(jnp.array([[0.4, 0.1, 0.3, 0.2]]))


def test_a_token_of_two_digits_competes_with_its_like_alone():
    restricted, widths = jax.jit(of_same_width)(LOG_PROBS, jnp.array([2]), TABLE)
    assert widths is not None and widths.tolist() == [2]
    probs = np.exp(restricted[0]) / np.exp(restricted[0]).sum()
    np.testing.assert_allclose(probs, [0, 0.1 / 0.4, 0.3 / 0.4, 0], rtol=1e-5)


@pytest.mark.parametrize("method", [method for method in LOSSES if method not in OF_SINGLE_DIGITS])
def test_tokens_of_other_widths_have_no_gradient_and_a_place_without_number_has_none_at_all(method):
    def loss(log_probs, token, target):
        restricted, widths = of_same_width(log_probs, token, TABLE)
        return jnp.sum(to_digit_scale(LOSSES[method](restricted, target, TABLE.values), widths, method))

    gradient = jax.jit(jax.grad(loss))
    at_ten = gradient(LOG_PROBS, jnp.array([2]), jnp.array([10.0]))
    assert np.isfinite(at_ten).all() and at_ten[0, 0] == at_ten[0, 3] == 0 and at_ten[0, 2] > at_ten[0, 1]
    assert not gradient(LOG_PROBS, jnp.array([0]), jnp.array([jnp.nan])).any()


@pytest.mark.parametrize(("method", "largest"), [("wasserstein", 9.0), ("mse", 81.0), ("raft", 81.0)])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_largest_loss_of_any_width_is_that_of_a_digit(method, largest, width):
    worst = jnp.array([(10.0**width - 1) ** (1 if method == "wasserstein" else 2)])
    np.testing.assert_allclose(to_digit_scale(worst, jnp.array([width]), method), [largest], rtol=1e-6)
    assert to_digit_scale(worst, None, method) is worst


@pytest.mark.parametrize("method", ["dist2", "gaussian", "smmd"])
def test_losses_without_the_values_unit_are_not_rescaled(method):
    losses = jnp.array([2.0])
    assert to_digit_scale(losses, jnp.array([3]), method) is losses
