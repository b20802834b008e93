# SPDX-License-Identifier: Apache-2.0
"""Claims about the losses that weigh digits by their decimal place: DEL and NTIL."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ntl_jax.losses import (
    digit_entropy,
    digit_entropy_weights,
    ntil_weights,
    number_token_wasserstein,
    numeral_ntil,
)

DIGITS = jnp.arange(10.0)


def value_and_grad(function):
    """In one program: operation by operation there would be dozens to compile."""
    return jax.jit(jax.value_and_grad(function))


@pytest.fixture(autouse=True)
def strict_dtype_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def test_digit_entropy_by_hand():
    """Logits 1, 0 and -1 for 3, 4 and 5 are q = 0.665241, 0.244728, 0.090031. With 4 true, b is softplus(1) = 1.313262,
    softplus(0) = 0.693147 and softplus(-1) = 0.313262: (0.873635 + 0.169633 + 0.028203) / 3 = 0.357157."""
    loss = digit_entropy(jnp.array([1.0, 0.0, -1.0]), jnp.float32(4.0), jnp.array([3.0, 4.0, 5.0]))
    np.testing.assert_allclose(loss, 0.357157, rtol=1e-4)


def test_digit_entropy_knows_no_distance_and_depends_on_the_common_level():
    sure_of = 6.0 * jnp.eye(10)
    losses = digit_entropy(sure_of, jnp.full(10, 4.0), DIGITS)
    np.testing.assert_allclose(losses[np.arange(10) != 4], losses[0], rtol=1e-5)
    assert losses[4] < 0.1 * losses[0]
    assert digit_entropy(sure_of[4] + 3.0, jnp.float32(4.0), DIGITS) != pytest.approx(float(losses[4]), rel=0.1)


def test_del_weighs_integers_by_twice_their_count_of_places_and_decimals_by_powers_of_1_02():
    found = digit_entropy_weights(jnp.array([3, 0, -1, -2]))
    np.testing.assert_allclose(found, [8, 2, 1.02**-2, 1.02**-3], rtol=1e-6)


def test_ntil_weighs_a_digit_by_those_behind_it():
    np.testing.assert_allclose(ntil_weights(jnp.array([2, 1, 0])), [1.44, 1.2, 1], rtol=1e-6)
    assert jnp.isfinite(ntil_weights(jnp.array(10_000)))


def one_numeral(predicted, true, **settings):
    """NTIL's term of one number, predicted with certainty; the last digit is a unit."""
    digits = jnp.array([int(digit) for digit in true])
    logits = 9.0 * jnp.eye(10)[jnp.array([int(digit) for digit in predicted])]
    places = jnp.arange(len(true))[::-1]
    of_one = jax.jit(functools.partial(numeral_ntil, num_numerals=1, **settings))
    return of_one(logits, digits, places, jnp.zeros(len(true), jnp.int32))[0]


def test_the_term_of_a_whole_number_by_hand():
    """193 for 123: 70 / 194 = 0.360825, log(194 / 124) = 0.447577."""
    weights = {"relative_weight": 1.0, "magnitude_weight": 0.0}
    np.testing.assert_allclose(one_numeral("193", "123", **weights), 0.360825, rtol=1e-5)
    weights = {"relative_weight": 0.0, "magnitude_weight": 1.0}
    np.testing.assert_allclose(one_numeral("193", "123", **weights), 0.447577, rtol=1e-5)
    np.testing.assert_allclose(one_numeral("193", "123"), 0.2 * (0.360825 + 0.447577), rtol=1e-5)
    assert one_numeral("123", "123") == 0


@pytest.mark.parametrize("length", [1, 36, 60, 200])
def test_numerals_of_any_length_stay_finite_and_their_last_digit_counts(length):
    assert jnp.isfinite(one_numeral("9" * length, "1" * length)) and one_numeral("9" * length, "9" * length) == 0
    assert jnp.isfinite(one_numeral("0" * length, "9" * length))
    last_wrong = one_numeral("1" * (length - 1) + "9", "1" * length)
    expected = 0.2 * 8 / (int("1" * length) + 9) + 0.2 * math.log1p(8 / (int("1" * length) + 1))
    np.testing.assert_allclose(last_wrong, expected, rtol=1e-5, atol=1e-37)


def rows():
    """Two rows: 12 and 7 interleaved with a position of no numeral; and a single 3."""
    targets = jnp.array([[1, 2, -100, 7], [3, 0, 0, 0]])
    places = jnp.array([[1, 0, 99, 0], [0, 0, 0, 0]])
    ids = jnp.array([[0, 0, -1, 1], [1, -1, -1, -1]])
    return jax.random.normal(jax.random.key(0), (2, 4, 10)), targets, places, ids


@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf])
def test_positions_of_no_numeral_change_nothing_whatever_they_hold(poison):
    logits, targets, places, ids = rows()
    outside = ids < 0

    def loss(logits):
        return numeral_ntil(logits, targets, places, ids, num_numerals=2).sum()

    poisoned = jnp.where(outside[..., None], poison, logits)
    (value, gradient), expected = value_and_grad(loss)(poisoned), value_and_grad(loss)(logits)
    assert value == expected[0] and not jnp.any(gradient[outside])
    np.testing.assert_array_equal(gradient, expected[1])


def test_the_gradient_of_a_whole_number_lowers_its_error():
    logits, targets, places, ids = rows()
    gradient = jax.grad(lambda z: numeral_ntil(z, targets, places, ids, num_numerals=2)[0, 1])(logits)
    likeliest = int(jnp.argmax(logits[0, 3]))
    direction = jnp.sum(gradient[0, 3] * jnp.arange(10.0))
    assert jnp.sign(direction) == jnp.sign(likeliest - 7) and not jnp.any(gradient[1])


@pytest.mark.parametrize("size", [1e3, 3e38])
def test_extreme_logits_have_finite_losses_and_gradients(size):
    logits = jnp.where(jnp.arange(10) == 0, size, -size).astype(jnp.float32)
    value, gradient = value_and_grad(digit_entropy)(logits, jnp.float32(4.0), DIGITS)
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))
    one = jnp.zeros(1, jnp.int32)

    def whole(logits):
        return numeral_ntil(logits, one + 4, one, one, num_numerals=1)[0]

    value, gradient = value_and_grad(whole)(logits[None])
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))


def test_a_digit_without_any_possible_value_counts_as_the_farthest_and_has_no_gradient():
    one = jnp.zeros(1, jnp.int32)
    impossible = jnp.full((1, 10), -jnp.inf)

    def whole(logits):
        return numeral_ntil(logits, one + 4, one, one, num_numerals=1)[0]

    value, gradient = value_and_grad(whole)(impossible)
    np.testing.assert_allclose(value, one_numeral("9", "4"), rtol=1e-6)
    assert not jnp.any(gradient)
    value, gradient = value_and_grad(digit_entropy)(impossible[0], jnp.float32(4.0), DIGITS)
    assert value == 0 and not jnp.any(gradient)


@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf])
def test_an_undefined_position_is_zero_with_zero_gradient_whatever_its_logits(poison):
    logits = jax.random.normal(jax.random.key(0), (4, 10)).at[::2].set(poison)
    targets = jnp.array([jnp.nan, 3.0, jnp.nan, 7.0])
    value, gradient = jax.vmap(value_and_grad(digit_entropy), (0, 0, None))(logits, targets, DIGITS)
    assert not jnp.any(value[::2]) and not jnp.any(gradient[::2])
    assert jnp.all(jnp.isfinite(gradient)) and jnp.all(jnp.any(gradient[1::2] != 0, axis=-1))


def test_gradients_of_digit_entropy_equal_finite_differences():
    logits, targets = jax.random.normal(jax.random.key(0), (3, 10)), jnp.array([0.0, 3.0, 9.0])
    check_grads(jax.jit(lambda z: 100 * digit_entropy(z, targets, DIGITS)), (logits,), order=1, atol=1e-2, rtol=1e-2)


def test_a_base_of_zero_and_a_negative_weight_are_refused():
    with pytest.raises(ValueError, match=r"base=0\.0 must be above 0"):
        ntil_weights(jnp.array([1]), base=0.0)
    with pytest.raises(ValueError, match="magnitude_weight"):
        one_numeral("1", "1", magnitude_weight=-1.0)


def published(count, step):
    """Logits 3 sin(step k), of a vocabulary of 12 whose digits come first."""
    return jnp.array(3 * np.sin(step * np.arange(count * 12).reshape(count, 12)), jnp.float32)


def test_digit_entropy_is_that_of_the_published_code():
    """`DEL` for Qwen on the labels 12.5, 7.25, .5, 300 and 4, between other tokens: 0.01 times the mean over digits. A
    decimal without an integer before it counts as a unit there."""
    text, places = "12.5x7.25x.5x300x4", [1, 0, -1, 0, -1, -2, 0, 2, 1, 0, 0]
    at = np.array([i for i, c in enumerate(text) if c.isdigit()])
    targets = jnp.array([float(text[i]) for i in at])

    def loss(logits):
        losses = digit_entropy(logits[at, :10], targets, DIGITS)
        return 0.01 * jnp.mean(losses * digit_entropy_weights(jnp.array(places)))

    value, gradient = value_and_grad(loss)(published(len(text), 1.7))
    np.testing.assert_allclose(value, 0.0054170215, rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(gradient), 0.00064955454, rtol=1e-5)


def test_both_levels_of_ntil_are_those_of_the_published_code_without_its_noise():
    """`NTIL` on the labels 123, 40 and 7 between other tokens: the mean over digits, and two means over numbers."""
    text = "123x40x7"
    at = np.array([i for i, c in enumerate(text) if c.isdigit()])
    digits, places = jnp.array([int(text[i]) for i in at]), jnp.array([2, 1, 0, 1, 0, 0])
    numerals = jnp.array([0, 0, 0, 1, 1, 2])

    def of_tokens(logits):
        distances = number_token_wasserstein(logits[at, :10], digits.astype(jnp.float32), DIGITS)
        return jnp.mean(distances * ntil_weights(places))

    def of_numbers(relative_weight, magnitude_weight):
        weights = {"relative_weight": relative_weight, "magnitude_weight": magnitude_weight}
        return lambda z: jnp.mean(numeral_ntil(z[at, :10], digits, places, numerals, num_numerals=3, **weights))

    expected = [
        (of_tokens, 3.806776, 0.49942419),
        (of_numbers(1.0, 0.0), 0.45919237, 0.46389878),
        (of_numbers(0.0, 1.0), 0.77867454, 0.92668355),
    ]
    for loss, value, size in expected:
        found, gradient = value_and_grad(loss)(published(len(text), 1.3))
        np.testing.assert_allclose(found, value, rtol=1e-5)
        np.testing.assert_allclose(jnp.linalg.norm(gradient), size, rtol=1e-5)
