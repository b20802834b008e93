# SPDX-License-Identifier: Apache-2.0
"""The digit's losses by name, and how a distribution over number tokens is divided."""

from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.numbers.methods import LOSSES, MAX_LOSS, OF_SINGLE_DIGITS, Method, SupervisedMethod, shares

DIGITS = np.arange(10.0)


def test_every_method_has_a_loss_and_those_of_the_record_have_the_largest_that_it_can_be():
    assert LOSSES.keys() == set(get_args(SupervisedMethod)) >= {*OF_SINGLE_DIGITS, *MAX_LOSS}
    assert MAX_LOSS.keys() == set(get_args(Method))
    sure_of_nine = jnp.full((1, 10), -jnp.inf).at[0, 9].set(0.0)
    for method, largest in MAX_LOSS.items():
        assert LOSSES[method](sure_of_nine, jnp.array([0.0]), jnp.arange(10.0)).tolist() == [largest]


@pytest.mark.parametrize("method", get_args(SupervisedMethod))
def test_every_method_is_smallest_near_the_truth_and_leaves_positions_without_one_alone(method):
    log_probs = jnp.log(0.01 + 0.89 * jnp.eye(10))
    logits = log_probs + 9.0 if method == "del" else log_probs
    losses = LOSSES[method](logits, jnp.full(10, 4.0), jnp.arange(10.0))
    assert jnp.argmin(losses) == 4 and losses[0] > losses[4]
    assert not LOSSES[method](log_probs, jnp.full(10, jnp.nan), jnp.arange(10.0)).any()


def test_tokens_of_one_value_are_taken_together():
    log_probs = jnp.log(jnp.array([[0.3, 0.4, 0.3]]))
    for values, favorite in (([1.0, 2.0, 2.0], 2.0), ([1.0, 1.0, 2.0], 1.0), ([1.0, 2.0, 3.0], 2.0)):
        predicted, top, of_truth = shares(log_probs, jnp.array([1.0]), np.array(values))
        assert predicted.tolist() == [favorite]
        np.testing.assert_allclose(top, [0.7 if len(set(values)) == 2 else 0.4], rtol=1e-6)
        np.testing.assert_allclose(of_truth, [0.7 if favorite == 1.0 else 0.3], rtol=1e-6)


@pytest.mark.parametrize("truth", [np.nan, 12.0])
def test_a_truth_that_no_token_has_gets_no_share(truth):
    assert shares(jnp.zeros((1, 10)), jnp.array([truth]), DIGITS)[2].tolist() == [0.0]


def test_shares_are_among_the_number_tokens_alone():
    predicted, top, of_truth = shares(jnp.full((1, 10), -50.0), jnp.array([3.0]), DIGITS)
    np.testing.assert_allclose([top[0], of_truth[0]], [0.1, 0.1], rtol=1e-6)
    assert predicted.tolist() == [0.0]
