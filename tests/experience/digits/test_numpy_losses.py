# SPDX-License-Identifier: Apache-2.0
"""What is read off the ten digits on the host is what the losses say on a device."""

import functools
from typing import get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.experience.digits.numpy_losses import read_digits
from ntl_jax.losses.numbers import LOSSES, MAX_LOSS, Method, shares
from ntl_jax.records import AnyArray, NumberReadings

METHODS: tuple[Method, ...] = get_args(Method)


def drawn(num_digits: int = 200, spread: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probs of the ten digits, which have 0.6 of all probability, and the true ones."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, spread, (num_digits, 10))
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True) + np.log(0.6)
    return log_probs.astype(np.float32), rng.integers(-1, 10, num_digits)


@functools.partial(jax.jit, static_argnames="method")
def on_the_device(log_probs: AnyArray, truth: AnyArray, method: Method) -> NumberReadings:
    log_probs = jnp.asarray(log_probs)
    targets, values = jnp.where(truth >= 0, truth, jnp.nan).astype(jnp.float32), np.arange(10.0)
    losses = LOSSES[method](log_probs, targets, jnp.asarray(values, jnp.float32))
    return NumberReadings(losses, *shares(log_probs, targets, values))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_loss_and_shares_equal_those_of_the_losses(method, spread):
    log_probs, truth = drawn(spread=spread)
    found, expected = (read(log_probs, truth, method=method) for read in (read_digits, on_the_device))
    chex.assert_shape(found, (200,))
    chex.assert_tree_all_finite(found)
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    scaled = [x._replace(loss=np.asarray(x.loss) / MAX_LOSS[method]) for x in (found, expected)]
    chex.assert_trees_all_close(*[x._replace(predicted=None) for x in scaled], atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_digit_with_no_possible_value_costs_the_most_as_in_the_losses(method):
    log_probs, truth = np.full((200, 10), -np.inf, np.float32), np.arange(200) % 11 - 1
    found = read_digits(log_probs, truth, method=method)
    chex.assert_trees_all_close(found, on_the_device(log_probs, truth, method), rtol=1e-6)
    assert found.loss.tolist() == [MAX_LOSS[method] if x >= 0 else 0 for x in truth]


@pytest.mark.parametrize("method", ["mse", "wasserstein"])
def test_only_proportions_among_the_ten_count(method):
    log_probs, truth = drawn()
    shifted = log_probs - np.linspace(0, 40, len(truth), dtype=np.float32)[:, None]
    chex.assert_trees_all_close(
        read_digits(shifted, truth, method=method), read_digits(log_probs, truth, method=method), rtol=1e-3, atol=1e-4
    )


def test_the_expected_value_of_raft_is_that_over_the_whole_vocabulary():
    """Half on 8 and half on a word, 8 true: (4 - 8)^2."""
    log_probs = np.where(np.arange(10) == 8, np.log(0.5), -np.inf)[None, :]
    assert read_digits(log_probs, np.array([8]), method="raft").loss.tolist() == [16]


def test_impossible_digits_have_no_share_and_no_cost():
    log_probs = np.where(np.arange(10) == 7, 0.0, -np.inf)[None, :].repeat(2, axis=0)
    readings = read_digits(log_probs, np.array([7, 4]), method="mse")
    assert readings.loss.tolist() == [0, 9] and readings.truth_probability.tolist() == [1, 0]
    assert readings.predicted.tolist() == [7, 7] and readings.top_probability.tolist() == [1, 1]


@pytest.mark.parametrize("method", METHODS)
def test_without_a_truth_loss_and_its_share_are_zero(method):
    log_probs, _ = drawn(3)
    readings = read_digits(log_probs, np.full(3, -1), method=method)
    assert not readings.loss.any() and not readings.truth_probability.any() and readings.top_probability.all()


def test_no_digits_at_all_are_no_error():
    chex.assert_shape(read_digits(np.zeros((0, 10), np.float32), np.zeros(0, int), method="mse"), (0,))
