# SPDX-License-Identifier: Apache-2.0
"""Claims about the loss on whole numerals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ntl_jax.losses.numbers.numeral import numeral_smape


def one_hot(number):
    """Logits that leave only the digits of the given text possible."""
    return jnp.log(jnp.eye(10)[jnp.array([int(digit) for digit in number])])


def compare(predicted, true, lowest_place=0, **settings):
    """The loss of one numeral predicted with certainty; the last digit stands at `lowest_place`."""
    digits = jnp.array([int(digit) for digit in true])
    places = jnp.arange(len(true))[::-1] + lowest_place
    ids = jnp.zeros(len(true), jnp.int32)
    return float(numeral_smape(one_hot(predicted), digits, places, ids, num_numerals=1, **settings)[0])


@pytest.mark.parametrize(
    ("predicted", "expected"), [("193", 0.221519), ("923", 0.764818), ("125", 0.008065), ("123", 0)]
)
def test_predictions_of_123_have_the_values_computed_by_hand(predicted, expected):
    assert compare(predicted, "123") == pytest.approx(expected, abs=1e-6)


def test_a_wrong_sign_costs_everything():
    assert compare("123", "123", same_sign=jnp.array([False])) == pytest.approx(1)
    assert compare("193", "123", same_sign=jnp.array([True])) == compare("193", "123")


def test_a_wrong_sign_costs_its_own_numeral_only():
    logits, targets, places, ids = rows()
    right = numeral_smape(logits, targets, places, ids, num_numerals=2)
    same_sign = jnp.array([[True, False], [True, True]])
    loss = numeral_smape(logits, targets, places, ids, num_numerals=2, same_sign=same_sign)
    np.testing.assert_allclose(loss, jnp.where(same_sign, right, 1.0), rtol=1e-6)


@pytest.mark.parametrize("lowest_place", [-300, -2, 3, 300])
def test_the_decimal_point_may_stand_anywhere(lowest_place):
    assert compare("193", "123", lowest_place) == pytest.approx(0.221519, abs=1e-6)


def test_numerals_of_any_length_stay_exact():
    assert compare("1" * 400, "1" * 400) == 0
    assert compare("2" + "0" * 399, "1" + "0" * 399) == pytest.approx(1 / 3)
    assert compare("1" + "0" * 18 + "1", "1" + "0" * 19) == pytest.approx(0.5e-19, rel=1e-5)


def test_zero_against_zero_costs_nothing():
    assert compare("0", "0") == 0


def test_the_expected_digits_are_compared_not_the_likeliest():
    logits = jnp.log(jnp.array([[0.5, 0.5, *[0.0] * 8], [0.0, 0.0, 1.0, *[0.0] * 7]]))  # 7 in expectation
    loss = numeral_smape(logits, jnp.array([0, 5]), jnp.array([1, 0]), jnp.zeros(2, int), num_numerals=1)
    np.testing.assert_allclose(loss, [2 / 12], rtol=1e-6)


def rows():
    """Two rows: 12 and 7 interleaved with a position of no numeral; and a single 3."""
    targets = jnp.array([[1, 2, -100, 7], [3, 0, 0, 0]])
    places = jnp.array([[1, 0, 99, 0], [0, 0, 0, 0]])
    ids = jnp.array([[0, 0, -1, 1], [1, -1, -1, -1]])
    return jax.random.normal(jax.random.key(0), (2, 4, 10)), targets, places, ids


def test_several_numerals_of_a_row_are_those_of_rows_of_their_own():
    logits, targets, places, ids = rows()
    together = numeral_smape(logits, targets, places, ids, num_numerals=3)
    zeros = jnp.zeros(2, jnp.int32)
    twelve = numeral_smape(logits[0, :2], targets[0, :2], places[0, :2], zeros, num_numerals=1)
    seven = numeral_smape(logits[0, 3:], targets[0, 3:], places[0, 3:], zeros[:1], num_numerals=1)
    three = numeral_smape(logits[1, :1], targets[1, :1], places[1, :1], zeros[:1], num_numerals=1)
    np.testing.assert_allclose(together, [[twelve[0], seven[0], 0], [0, three[0], 0]], rtol=1e-6)


@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf])
def test_positions_of_no_numeral_have_no_gradient_whatever_they_hold(poison):
    logits, targets, places, ids = rows()
    outside = ids < 0
    poisoned = jnp.where(outside[..., None], poison, logits)
    gradient = jax.grad(lambda z: numeral_smape(z, targets, places, ids, num_numerals=2).sum())(poisoned)
    clean = jax.grad(lambda z: numeral_smape(z, targets, places, ids, num_numerals=2).sum())(logits)
    assert jnp.array_equal(gradient, clean)
    assert jnp.array_equal(jnp.all(gradient == 0, axis=-1), outside)


def test_gradients_equal_finite_differences():
    logits, targets, places, ids = rows()
    check_grads(
        lambda z: numeral_smape(z, targets, places, ids, num_numerals=2), (logits,), order=1, atol=1e-2, rtol=1e-2
    )


def test_an_impossible_digit_counts_as_the_farthest_one_without_gradient():
    logits = one_hot("123").at[0].set(-jnp.inf)
    run = lambda z: numeral_smape(z, jnp.array([1, 2, 3]), jnp.arange(3)[::-1], jnp.zeros(3, int), num_numerals=1)[0]  # noqa: E731
    value, gradient = jax.value_and_grad(run)(logits)
    assert value == pytest.approx(compare("923", "123"))
    assert jnp.all(jnp.isfinite(gradient)) and not jnp.any(gradient[0])


def test_shapes_and_masks_that_do_not_fit_are_refused():
    arguments = jnp.zeros((3, 10)), jnp.zeros(3, int), jnp.zeros(3, int), jnp.zeros(3, int)
    with pytest.raises(ValueError, match="must end in 10"):
        numeral_smape(jnp.zeros((3, 9)), *arguments[1:], num_numerals=1)
    with pytest.raises(ValueError, match=r"exponents \(2,\) must have the shape \(3,\)"):
        numeral_smape(*arguments[:2], jnp.zeros(2, int), arguments[3], num_numerals=1)
    with pytest.raises(ValueError, match="same_sign is float32"):
        numeral_smape(*arguments, num_numerals=1, same_sign=jnp.ones(1))
    with pytest.raises(ValueError, match=r"same_sign \(1,\) must have the shape \(2,\) of the numerals"):
        numeral_smape(*arguments, num_numerals=2, same_sign=jnp.ones(1, bool))
