# SPDX-License-Identifier: Apache-2.0
"""Claims about SMMD, the kernel distance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ntl_jax.losses import number_token_smmd

DIGITS = jnp.arange(10.0)


def value_and_grad(function):
    """In one program: operation by operation there would be dozens to compile."""
    return jax.jit(jax.value_and_grad(function))


SMMD = jax.jit(number_token_smmd, static_argnames=("bandwidth", "squash"))


@pytest.fixture(autouse=True)
def strict_dtype_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def test_two_values_have_the_loss_computed_by_hand():
    """Of 0 and 2 with bandwidth 2: K = [[1, k], [k, 1]], k = e^-0.5 = 0.606531, both row sums 1 + k, so that
    a = 1 / (2 (1 + k)) = 0.311230. With q = (3/4, 1/4) and 0 true, r = (-1/4, 1/4): r'Kr = (2 - 2k) / 16 = 0.049184,
    and r'(D - K)r = k (1/2)^2 = 0.151633. Together 0.049184 + 0.311230 * 0.151633 = 0.096376."""
    logits = jnp.log(jnp.array([0.75, 0.25]))
    loss = SMMD(logits, jnp.float32(0.0), jnp.array([0.0, 2.0]), squash=None)
    np.testing.assert_allclose(loss, 0.096376, rtol=1e-4)


def test_the_loss_is_zero_at_the_truth_alone_and_grows_within_three_bandwidths():
    sure = jnp.where(DIGITS[:, None] == DIGITS[None, :], 0.0, -jnp.inf)
    by_distance = SMMD(sure, jnp.zeros(10), DIGITS)
    assert by_distance[0] == 0 and jnp.all(jnp.diff(by_distance[:7]) > 0) and jnp.all(by_distance[1:] > 1)
    spread = SMMD(jnp.where((DIGITS == 3) | (DIGITS == 5), 0.0, -jnp.inf), jnp.float32(4.0), DIGITS)
    assert spread > 0.1  # unlike the losses of the mean


def test_squashing_with_nine_is_the_identity_on_digits_and_the_scale_of_other_tables():
    logits = jax.random.normal(jax.random.key(0), (10, 10))
    plain = SMMD(logits, DIGITS, DIGITS, squash=None)
    np.testing.assert_allclose(SMMD(logits, DIGITS, DIGITS), plain, rtol=1e-5)
    np.testing.assert_allclose(SMMD(logits, 100 * DIGITS, 100 * DIGITS), plain, rtol=1e-5)


def test_tokens_of_one_value_share_the_truth():
    values = jnp.array([3.0, 4.0, 4.0])
    halves = SMMD(jnp.log(jnp.array([0.0, 0.5, 0.5])), jnp.float32(4.0), values)
    np.testing.assert_allclose(halves, 0.0, atol=1e-7)


def test_a_target_that_no_token_has_is_undefined():
    value, gradient = value_and_grad(number_token_smmd)(jnp.zeros(10), jnp.float32(4.5), DIGITS)
    assert value == 0 and not jnp.any(gradient)


@pytest.mark.parametrize("size", [1e3, 3e38])
def test_extreme_logits_have_finite_losses_and_gradients(size):
    logits = jnp.where(jnp.arange(10) == 0, size, -size).astype(jnp.float32)
    value, gradient = value_and_grad(number_token_smmd)(logits, jnp.float32(4.0), DIGITS)
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))


def test_where_no_number_is_possible_the_loss_is_the_largest_with_zero_gradient():
    value, gradient = value_and_grad(number_token_smmd)(jnp.full(10, -jnp.inf), jnp.float32(4.0), DIGITS)
    sure = jnp.where(DIGITS[:, None] == DIGITS[None, :], 0.0, -jnp.inf)
    pairs = jax.vmap(number_token_smmd, (0, None, None))(jnp.repeat(sure[:, None], 10, axis=1), DIGITS, DIGITS)
    np.testing.assert_allclose(value, jnp.max(pairs), rtol=1e-5)
    assert not jnp.any(gradient)


@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf])
def test_an_undefined_position_is_zero_with_zero_gradient_whatever_its_logits(poison):
    logits = jax.random.normal(jax.random.key(0), (4, 10)).at[::2].set(poison)
    targets = jnp.array([jnp.nan, 3.0, jnp.nan, 7.0])
    value, gradient = jax.vmap(value_and_grad(number_token_smmd), (0, 0, None))(logits, targets, DIGITS)
    assert not jnp.any(value[::2]) and not jnp.any(gradient[::2])
    assert jnp.all(jnp.isfinite(gradient)) and jnp.all(jnp.any(gradient[1::2] != 0, axis=-1))


def test_gradients_equal_finite_differences():
    logits, targets = jax.random.normal(jax.random.key(0), (3, 10)), jnp.array([0.0, 3.0, 9.0])
    check_grads(jax.jit(lambda z: 100 * number_token_smmd(z, targets, DIGITS)), (logits,), order=1, atol=0.1, rtol=1e-2)


@pytest.mark.parametrize(("settings", "message"), [({"bandwidth": 0.0}, "above 0"), ({"squash": 1.0}, "above 1")])
def test_settings_that_cannot_serve_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SMMD(jnp.zeros(10), jnp.float32(4.0), DIGITS, **settings)


def test_values_and_gradients_are_those_of_the_published_code():
    """`SMMDLoss` with its defaults, which takes the mean of the positions, on logits 3 sin(1.7 k): of a vocabulary of
    12 whose digits come first, and of a table of seven numbers up to 999."""
    logits = jnp.array(3 * np.sin(1.7 * np.arange(84).reshape(7, 12))[::2, :10], jnp.float32)
    targets = jnp.array([3.0, 0.0, 9.0, 5.0])
    loss, gradient = value_and_grad(lambda z: jnp.mean(number_token_smmd(z, targets, DIGITS)))(logits)
    np.testing.assert_allclose(loss, 1.2086399, rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(gradient), 0.13278615, rtol=1e-5)
    logits = jnp.array(3 * np.sin(1.7 * np.arange(24).reshape(3, 8))[:, :7], jnp.float32)
    values = jnp.array([0.0, 1.0, 2.0, 5.0, 10.0, 50.0, 999.0])
    loss = SMMD(logits, jnp.array([1.0, 10.0, 999.0]), values)
    np.testing.assert_allclose(jnp.mean(loss), 0.8176257, rtol=1e-5)
