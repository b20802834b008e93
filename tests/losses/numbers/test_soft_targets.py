# SPDX-License-Identifier: Apache-2.0
"""Claims about the losses against softened targets: DIST2 and Gaussian label smoothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ntl_jax.losses import number_token_dist2, number_token_gaussian

DIGITS = jnp.arange(10.0)
LOSSES = [number_token_dist2, number_token_gaussian]


def value_and_grad(function):
    """In one program: operation by operation there would be dozens to compile."""
    return jax.jit(jax.value_and_grad(function))


@pytest.fixture(autouse=True)
def strict_dtype_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def softened(width):
    """exp(-d^2 / width) for d = -4 to 5, normalized: the target of the digit 4."""
    weights = np.exp(-((np.arange(10) - 4.0) ** 2) / width)
    return weights / weights.sum()


def test_dist2_of_a_uniform_distribution_is_log_10_less_the_entropy_of_the_target():
    target = softened(1.0)
    expected = np.log(10) + np.sum(target * np.log(target))
    np.testing.assert_allclose(number_token_dist2(jnp.zeros(10), jnp.float32(4.0), DIGITS), expected, rtol=1e-5)


def test_dist2_by_hand_among_two_neighbors():
    """The target of 4 among 4 and 5 is 1 / (1 + 1/e) = 0.731059 and 0.268941; with halves, its relative entropy is
    0.731059 log 1.462117 + 0.268941 log 0.537883 = 0.277702 - 0.166760 = 0.110944."""
    loss = number_token_dist2(jnp.zeros(2), jnp.float32(4.0), jnp.array([4.0, 5.0]))
    np.testing.assert_allclose(loss, 0.110944, rtol=1e-4)


def test_gaussian_smoothing_by_hand_among_two_neighbors():
    """The target of 4 among 4 and 5 is 1 / (1 + e^-0.5) = 0.622459 and 0.377541; of probabilities 0.5 and 0.25 its
    cross entropy is 0.622459 log 2 + 0.377541 log 4 = 0.954833."""
    log_probs = jnp.log(jnp.array([0.5, 0.25]))
    loss = number_token_gaussian(log_probs, jnp.float32(4.0), jnp.array([4.0, 5.0]))
    np.testing.assert_allclose(loss, 0.954833, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "width"), [(number_token_dist2, 1.0), (functools.partial(number_token_gaussian, sigma=2.0), 8.0)]
)
def test_the_loss_rests_at_the_target(loss, width):
    logits = jnp.log(jnp.array(softened(width), jnp.float32))
    gradient = jax.grad(lambda z: loss(jax.nn.log_softmax(z), jnp.float32(4.0), DIGITS))
    np.testing.assert_allclose(gradient(logits), jnp.zeros(10), atol=1e-6)
    assert jnp.max(jnp.abs(gradient(logits.at[5].add(0.5)))) > 0.01


def test_a_narrow_target_leaves_the_cross_entropy_among_the_digits():
    logits = jax.random.normal(jax.random.key(0), (10, 10))
    cross_entropy = -jnp.diagonal(jax.nn.log_softmax(logits))
    np.testing.assert_allclose(number_token_dist2(logits, DIGITS, DIGITS, temperature=1e-3), cross_entropy, rtol=1e-5)
    narrow = number_token_gaussian(jax.nn.log_softmax(logits), DIGITS, DIGITS, sigma=1e-2)
    np.testing.assert_allclose(narrow, cross_entropy, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [1e3, 3e38])
def test_extreme_logits_have_finite_losses_and_gradients(loss, size):
    logits = jnp.where(jnp.arange(10) == 0, size, -size).astype(jnp.float32)
    value, gradient = value_and_grad(loss)(logits, jnp.float32(4.0), DIGITS)
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("loss", LOSSES)
def test_an_impossible_number_is_left_out_of_the_target_too(loss):
    values = jnp.array([3.0, 4.0, 5.0])
    logits = jnp.array([-1.0, -2.0, -jnp.inf])
    value, gradient = value_and_grad(loss)(logits, jnp.float32(4.0), values)
    np.testing.assert_allclose(value, loss(logits[:2], jnp.float32(4.0), values[:2]), rtol=1e-6)
    assert jnp.all(jnp.isfinite(gradient)) and gradient[2] == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_compared_where_no_number_is_possible(loss):
    value, gradient = value_and_grad(loss)(jnp.full(10, -jnp.inf), jnp.float32(4.0), DIGITS)
    assert value == 0 and not jnp.any(gradient)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf])
def test_an_undefined_position_is_zero_with_zero_gradient_whatever_its_logits(loss, poison):
    logits = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (4, 10))).at[::2].set(poison)
    targets = jnp.array([jnp.nan, 3.0, jnp.nan, 7.0])
    value, gradient = jax.vmap(value_and_grad(loss), (0, 0, None))(logits, targets, DIGITS)
    assert not jnp.any(value[::2]) and not jnp.any(gradient[::2])
    assert jnp.all(jnp.isfinite(gradient)) and jnp.all(jnp.any(gradient[1::2] != 0, axis=-1))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_equal_finite_differences(loss):
    logits = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 10)))
    targets = jnp.array([0.0, 3.0, 9.0])
    check_grads(jax.jit(lambda z: loss(z, targets, DIGITS)), (logits,), order=1, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(("loss", "name"), [(number_token_dist2, "temperature"), (number_token_gaussian, "sigma")])
def test_a_width_of_zero_is_refused(loss, name):
    with pytest.raises(ValueError, match=rf"{name}=0\.0 must be above 0"):
        loss(jnp.zeros(10), jnp.float32(4.0), DIGITS, **{name: 0.0})


def test_values_and_gradients_are_those_of_the_published_code():
    """DEL's `DIST2loss` (its weights of places are 1 for lone digits) and NTL's `GaussianLabelSmoother`, which takes
    the mean of the four positions, on logits 3 sin(1.7 k) of a vocabulary of 12 whose digits come first."""
    logits = jnp.array(3 * np.sin(1.7 * np.arange(84).reshape(7, 12))[::2], jnp.float32)
    targets = jnp.array([3.0, 0.0, 9.0, 5.0])
    dist2 = jax.vmap(value_and_grad(number_token_dist2), (0, 0, None))(logits[:, :10], targets, DIGITS)
    np.testing.assert_allclose(dist2[0], [4.2660217, 3.6077914, 1.6952153, 3.7968898], rtol=1e-5)
    expected = [0.018719, 0.357728, -0.198803, -0.562963, -0.124801, 0.195840, 0.002232, 0.002941, 0.247334, 0.061773]
    np.testing.assert_allclose(dist2[1][0], expected, atol=1e-6)

    for sigma, value, size in [(1.0, 4.1620083, 0.34852108), (2.0, 3.9354475, 0.26388073)]:

        def smoothed(logits, sigma=sigma):
            log_probs = jax.nn.log_softmax(logits)[:, :10]
            return jnp.mean(number_token_gaussian(log_probs, targets, DIGITS, sigma=sigma))

        loss, gradient = value_and_grad(smoothed)(logits)
        np.testing.assert_allclose(loss, value, rtol=1e-5)
        np.testing.assert_allclose(jnp.linalg.norm(gradient), size, rtol=1e-5)
