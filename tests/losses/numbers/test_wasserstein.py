# SPDX-License-Identifier: Apache-2.0
"""Claims about the distance between number distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ntl_jax.losses.numbers.number_token import number_token_mae, number_token_wasserstein
from ntl_jax.losses.numbers.wasserstein import wasserstein_1

UNEVEN = jnp.array([7.0, 0.0, 100.0, 3.0, 7.0, 2.5])  # neither sorted, nor evenly spaced, nor distinct


def cost_of_the_best_transport(probs, target_probs, values):
    """Moves probability greedily from the lowest value up, which is optimal on a line."""
    order = np.argsort(values)
    supply, demand = (list(np.asarray(x, np.float64)[order]) for x in (probs, target_probs))
    cost, i, j = 0.0, 0, 0
    while i < len(order) and j < len(order):
        moved = min(supply[i], demand[j])
        cost += moved * abs(float(values[order[i]]) - float(values[order[j]]))
        supply[i] -= moved
        demand[j] -= moved
        i, j = (i + 1, j) if supply[i] <= demand[j] else (i, j + 1)
    return cost


def distributions(num_rows=5):
    keys = jax.random.split(jax.random.key(0), 2)
    logits = jax.random.normal(keys[0], (num_rows, UNEVEN.size)) * 2
    return logits, jax.nn.softmax(jax.random.normal(keys[1], logits.shape), axis=-1)


def test_it_is_the_cost_of_the_best_transport():
    logits, target_probs = distributions()
    expected = [
        cost_of_the_best_transport(p, t, np.asarray(UNEVEN))
        for p, t in zip(np.asarray(jax.nn.softmax(logits)), np.asarray(target_probs), strict=True)
    ]
    np.testing.assert_allclose(wasserstein_1(logits, target_probs, UNEVEN), expected, rtol=1e-5)


def test_many_values_far_apart_equal_float64_to_one_part_in_a_million_of_distance_and_range():
    values = jnp.cumsum(10.0 ** jax.random.uniform(jax.random.key(1), (1000,), maxval=6.0))
    keys = jax.random.split(jax.random.key(0), 2)
    logits = jax.random.normal(keys[0], (16, 1000)) * 8
    target_probs = jax.nn.softmax(jax.random.normal(keys[1], logits.shape) * 3)
    probs = np.exp(np.asarray(logits, np.float64))
    probs /= probs.sum(axis=-1, keepdims=True)
    cdf_gaps = np.cumsum(probs - np.asarray(target_probs, np.float64), axis=-1)[:, :-1]
    expected = (np.abs(cdf_gaps) * np.diff(np.asarray(values, np.float64))).sum(axis=-1)
    tolerance = 1e-6 * np.ptp(np.asarray(values))
    np.testing.assert_allclose(wasserstein_1(logits, target_probs, values), expected, rtol=1e-6, atol=tolerance)


def test_it_equals_the_number_token_loss_for_a_point_mass():
    logits, _ = distributions(6)
    point_masses = jnp.eye(6)
    expected = number_token_wasserstein(logits, UNEVEN, UNEVEN)
    np.testing.assert_allclose(wasserstein_1(logits, point_masses, UNEVEN), expected, rtol=1e-5)


def test_the_order_of_the_values_changes_nothing():
    logits, target_probs = distributions()
    order = jnp.array([3, 0, 5, 2, 4, 1])
    permuted = wasserstein_1(logits[:, order], target_probs[:, order], UNEVEN[order])
    np.testing.assert_allclose(permuted, wasserstein_1(logits, target_probs, UNEVEN), rtol=1e-6)


def test_a_distribution_is_at_distance_zero_from_itself():
    _, target_probs = distributions()
    np.testing.assert_allclose(wasserstein_1(jnp.log(target_probs), target_probs, UNEVEN), 0, atol=1e-5)


def test_gradients_equal_finite_differences_in_logits_and_target():
    logits, target_probs = distributions()
    check_grads(lambda z, t: wasserstein_1(z, t, UNEVEN / 10), (logits, target_probs), order=1, atol=1e-2, rtol=1e-2)


def test_undefined_targets_and_impossible_numbers_have_no_gradient():
    logits, target_probs = distributions(3)
    logits = logits.at[0].set(jnp.nan).at[1].set(-jnp.inf)
    target_probs = target_probs.at[0, 2].set(jnp.nan)
    run = jax.vmap(jax.value_and_grad(wasserstein_1, argnums=(0, 1)), (0, 0, None))
    value, gradients = run(logits, target_probs, UNEVEN)
    assert value[:2].tolist() == [0.0, 100.0]
    for gradient in gradients:
        assert not jnp.any(gradient[:2])
        assert jnp.all(jnp.isfinite(gradient[2])) and jnp.any(gradient[2] != 0)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must have one shape"):
        wasserstein_1(jnp.zeros((2, 3)), jnp.zeros(3), jnp.zeros(3))


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: number_token_mae(z, jnp.array(1.0), jnp.arange(3.0)),
        lambda z: wasserstein_1(z, jnp.array([0.25, 0.5, 0.25]), jnp.arange(3.0)),
    ],
    ids=["mae", "wasserstein_1"],
)
def test_an_exactly_right_prediction_has_no_gradient(loss):
    # Probabilities 1/4, 1/2, 1/4: the mean is 1, and the distribution the target's.
    value, gradient = jax.value_and_grad(loss)(jnp.log(jnp.array([0.25, 0.5, 0.25])))
    assert value == 0 and not gradient.any()
