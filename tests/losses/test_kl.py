# SPDX-License-Identifier: Apache-2.0
"""Claims about the KL estimators and the controllers of their coefficient."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.aggregate import aggregate
from ntl_jax.losses.kl import (
    AdaptiveKLController,
    FixedKLController,
    k3_statistic,
    kl_abs,
    kl_k1,
    kl_k1_plus,
    kl_k2,
    kl_k3,
    kl_k3_plus,
)


def normal(shape):
    return jnp.array(np.random.default_rng(0).normal(size=shape), jnp.float32)


ESTIMATORS = [kl_k1, kl_k2, kl_k3, kl_abs, kl_k1_plus, kl_k3_plus, k3_statistic]


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (kl_k1, [-1.0, 14.0, 29.0]),
        (kl_abs, [1.0, 14.0, 29.0]),
        (kl_k2, [0.5, 98.0, 420.5]),
        (kl_k3, [0.7183, 10.0, 10.0]),  # without its clamps 0.7183, 13, 28
        (kl_k1_plus, [-1.0, 14.0, 29.0]),
        (kl_k3_plus, [0.7183, 10.0, 10.0]),
        (k3_statistic, [0.7183, 13.0, 28.0]),
    ],
)
def test_estimators_of_the_base_case(estimator, expected):
    np.testing.assert_allclose(estimator(jnp.full(3, -1.0), jnp.array([0.0, -15.0, -30.0])), expected, atol=5e-5)


def test_k3_mean_of_the_base_case():
    # d = [1, 0, -1]: e^-1 + 1 - 1 = .3679; 0; e - 1 - 1 = .7183; mean .3620.
    log_probs, mask = jnp.array([[0.0, -1.0, -2.0]]), jnp.ones((1, 3), bool)
    np.testing.assert_allclose(aggregate(kl_k3(log_probs, jnp.full((1, 3), -1.0)), mask), 0.362, atol=1e-4)


def test_only_the_exponent_of_the_statistic_is_clipped():
    # exp(15) - 15 - 1; at d = -20 and below exp(20) - 20 - 1; far above the exponential is 0.
    statistic = k3_statistic(jnp.array([-16.0, -21.0, -1e6, 0.0]), jnp.array([-1.0, -1.0, 0.0, -1e6]))
    np.testing.assert_allclose(statistic, [3269001.37, 485165174.4, 485165174.4, 999999.0], rtol=1e-6)


def test_the_distance_has_no_gradient_where_the_policies_agree():
    values, gradients = jax.vmap(jax.value_and_grad(kl_abs))(
        jnp.array([-1.0, -1.0, -1.0]), jnp.array([-1.0, 0.0, -3.0])
    )
    np.testing.assert_array_equal(values, [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(gradients, [0.0, -1.0, 1.0])


def test_k3_of_nearly_equal_policies_keeps_its_digits():
    np.testing.assert_allclose(kl_k3(jnp.array(1e-3), jnp.array(0.0)), 0.5e-6, rtol=1e-2)


@pytest.mark.parametrize("estimator", [kl_k1, kl_k3, k3_statistic], ids=["k1", "k3", "statistic"])
def test_k1_and_k3_are_unbiased(estimator):
    policy, reference = jax.nn.log_softmax(normal((2, 7)))
    exact = np.sum(np.exp(policy) * (policy - reference))
    np.testing.assert_allclose(jnp.sum(jnp.exp(policy) * estimator(policy, reference)), exact, rtol=1e-5)


@pytest.mark.parametrize("estimator", [kl_k2, kl_k1_plus, kl_k3_plus], ids=["k2", "k1+", "k3+"])
def test_the_gradient_of_k2_and_of_the_plus_forms_is_that_of_the_kl(estimator):
    logits, other = normal((2, 7))
    reference = jax.nn.log_softmax(other)

    def exact(z):
        policy = jax.nn.log_softmax(z)
        return jnp.sum(jnp.exp(policy) * (policy - reference))

    def estimated(z):
        policy = jax.nn.log_softmax(z)
        return jnp.sum(jax.lax.stop_gradient(jnp.exp(policy)) * estimator(policy, reference))

    gradients = jax.jit(lambda z: (jax.grad(estimated)(z), jax.grad(exact)(z)))(logits)
    np.testing.assert_allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_extremes_stay_finite_in_value_and_gradient(estimator):
    log_probs = jnp.array([-1e4, 0.0, -jnp.inf, 0.0])
    reference = jnp.array([0.0, -1e4, 0.0, -jnp.inf])
    value, gradient = jax.jit(jax.value_and_grad(lambda x: estimator(x, reference).sum()))(log_probs)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_reference_is_a_constant(estimator):
    assert not jax.grad(estimator, argnums=1)(jnp.array(-1.0), jnp.array(-2.0))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("bad", [jnp.nan, -jnp.inf])
def test_bad_tokens_outside_the_mask_change_neither_value_nor_gradient(estimator, bad):
    log_probs, reference = jnp.array([[-1.0, bad, -2.0]]), jnp.array([[-1.5, bad, -1.0]])
    mask = jnp.array([[True, False, True]])
    value, gradient = jax.jit(jax.value_and_grad(lambda x: aggregate(estimator(x, reference), mask)))(log_probs)
    kept = jnp.array([[-1.0, -2.0]]), jnp.array([[-1.5, -1.0]])
    np.testing.assert_allclose(value, estimator(*kept).mean(), rtol=1e-6)
    assert np.isfinite(gradient).all() and not gradient[0, 1]


def test_a_fixed_controller_never_moves_and_an_adaptive_one_steers_to_its_target():
    assert FixedKLController(0.1).update(kl=99.0, num_samples=8).beta == 0.1
    controller = AdaptiveKLController(beta=0.1, target=6.0, horizon=1000)
    # kl / target - 1 = 0.1, then 4 clipped to 0.2, then -1 clipped to -0.2; each times 100 / 1000.
    for kl, beta in [(6.6, 0.101), (30.0, 0.102), (0.0, 0.098), (6.0, 0.1)]:
        np.testing.assert_allclose(controller.update(kl=kl, num_samples=100).beta, beta, rtol=1e-12)
    assert controller.beta == 0.1


def test_an_adaptive_controller_resumes_bit_for_bit_from_its_state():
    controller = AdaptiveKLController(beta=0.1, target=6.0, horizon=777).update(kl=jnp.float32(7.3), num_samples=64)
    restored = AdaptiveKLController(**json.loads(json.dumps(dataclasses.asdict(controller))))
    assert restored == controller
    assert restored.update(kl=5.1, num_samples=64) == controller.update(kl=5.1, num_samples=64)


def test_controllers_refuse_what_would_break_beta():
    for make, match in [
        (lambda: FixedKLController(-0.1), "beta=-0.1"),
        (lambda: AdaptiveKLController(beta=float("nan"), target=1.0, horizon=10), "beta=nan"),
        (lambda: AdaptiveKLController(beta=0.1, target=0.0, horizon=10), "target=0.0"),
        (lambda: AdaptiveKLController(beta=0.1, target=1.0, horizon=0), "horizon=0"),
        (lambda: AdaptiveKLController(beta=0.1, target=1.0, horizon=10).update(float("nan"), 1), "kl=nan"),
        (lambda: AdaptiveKLController(beta=0.1, target=1.0, horizon=10).update(0.0, 50), "num_samples=50"),
        (lambda: AdaptiveKLController(beta=0.1, target=1.0, horizon=10).update(0.0, -1), "num_samples=-1"),
    ]:
        with pytest.raises(ValueError, match=match):
            make()
