# SPDX-License-Identifier: Apache-2.0
"""Claims about RAFT and REAL: expected values over the whole vocabulary, and a reward's own gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ntl_jax.losses import number_token_mse, number_token_raft, number_token_real, reinforce_policy_loss

DIGITS = jnp.arange(10.0)
LOSSES = [number_token_raft, number_token_real]


def value_and_grad(function):
    """In one program: operation by operation there would be dozens to compile."""
    return jax.jit(jax.value_and_grad(function))


@pytest.fixture(autouse=True)
def strict_dtype_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def test_raft_by_hand_counts_what_lies_off_the_digits_as_zero():
    """0.5 on 4, 0.3 on 6 and 0.2 on a word: (2 + 1.8 - 5)^2 = 1.44."""
    log_probs = jnp.log(jnp.zeros(10).at[4].set(0.5).at[6].set(0.3))
    np.testing.assert_allclose(number_token_raft(log_probs, jnp.float32(5.0), DIGITS), 1.44, rtol=1e-5)


def test_real_by_hand_adds_the_surprise_of_the_truth():
    """The same with 4 true: (3.8 - 4)^2 - 2 log 0.5 = 0.04 + 1.386294."""
    log_probs = jnp.log(jnp.zeros(10).at[4].set(0.5).at[6].set(0.3))
    loss = number_token_real(log_probs, jnp.float32(4.0), DIGITS, likelihood_weight=2.0)
    np.testing.assert_allclose(loss, 1.426294, rtol=1e-5)


def test_without_probability_off_the_digits_raft_is_the_squared_error_of_the_mean():
    log_probs = jax.nn.log_softmax(3 * jax.random.normal(jax.random.key(0), (10, 10)))
    expected = number_token_mse(log_probs, DIGITS, DIGITS)
    np.testing.assert_allclose(number_token_raft(log_probs, DIGITS, DIGITS), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(number_token_real(log_probs, DIGITS, DIGITS, likelihood_weight=0.0), expected, rtol=1e-4)


def test_policy_loss_and_real_together_have_the_gradient_of_the_expected_reward():
    """Three thoughts with policy logits a, ten digits after each with logits b; every thought is enumerated."""
    keys = jax.random.split(jax.random.key(1), 2)
    thoughts, answers = jax.random.normal(keys[0], (3,)), jax.random.normal(keys[1], (3, 10))
    truth = jnp.full(3, 4.0)

    def costs(answers):
        return number_token_real(jax.nn.log_softmax(answers), truth, DIGITS, likelihood_weight=0.5)

    def expected_cost(thoughts, answers):
        return jnp.sum(jax.nn.softmax(thoughts) * costs(answers))

    def estimator(thoughts, answers):
        probs = jax.lax.stop_gradient(jax.nn.softmax(thoughts))
        rewards = jax.lax.stop_gradient(-costs(answers))
        log_probs = jax.nn.log_softmax(thoughts)
        return jnp.sum(probs * (reinforce_policy_loss(log_probs, log_probs, rewards) + costs(answers)))

    found, expected = (jax.jit(jax.grad(f, (0, 1)))(thoughts, answers) for f in (estimator, expected_cost))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    score_alone = jax.grad(lambda b: jnp.sum(jax.lax.stop_gradient(costs(b))))(answers)
    assert not jnp.any(score_alone) and jnp.any(jnp.abs(expected[1]) > 0.1)  # what a fixed reward would leave out


def test_tokens_of_one_value_count_together():
    values, log_probs = jnp.array([4.0, 4.0, 5.0]), jnp.log(jnp.array([0.25, 0.25, 0.5]))
    loss = number_token_real(log_probs, jnp.float32(4.0), values)
    np.testing.assert_allclose(loss, 0.25 + np.log(2), rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [1e3, 3e38])
def test_extreme_logits_have_finite_losses_and_gradients(loss, size):
    logits = jnp.where(jnp.arange(10) == 0, size / 2, -size / 2).astype(jnp.float32)
    value, gradient = value_and_grad(lambda z: loss(jax.nn.log_softmax(z), jnp.float32(4.0), DIGITS))(logits)
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))


def test_where_no_number_is_possible_raft_costs_the_most_with_zero_gradient():
    for target in (0.0, 4.0):
        value, gradient = value_and_grad(number_token_raft)(jnp.full(10, -jnp.inf), jnp.float32(target), DIGITS)
        assert value == 81 and not jnp.any(gradient)


def test_an_impossible_truth_costs_a_finite_surprise_without_gradient():
    log_probs = jnp.log(jnp.full(10, 0.1)).at[4].set(-jnp.inf)
    value, gradient = value_and_grad(number_token_real)(log_probs, jnp.float32(4.0), DIGITS)
    np.testing.assert_allclose(value, 0.1**2 + 103.0, rtol=1e-6)
    assert jnp.all(jnp.isfinite(gradient)) and gradient[4] == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf])
def test_an_undefined_position_is_zero_with_zero_gradient_whatever_its_log_probs(loss, poison):
    log_probs = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (4, 10))).at[::2].set(poison)
    targets = jnp.array([jnp.nan, 3.0, jnp.nan, 7.0])
    value, gradient = jax.vmap(value_and_grad(loss), (0, 0, None))(log_probs, targets, DIGITS)
    assert not jnp.any(value[::2]) and not jnp.any(gradient[::2])
    assert jnp.all(jnp.isfinite(gradient)) and jnp.all(jnp.any(gradient[1::2] != 0, axis=-1))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_equal_finite_differences(loss):
    logits, targets = jax.random.normal(jax.random.key(0), (3, 10)), jnp.array([0.0, 3.0, 9.0])
    check_grads(
        jax.jit(lambda z: loss(jax.nn.log_softmax(z), targets, DIGITS)), (logits,), order=1, atol=1e-2, rtol=1e-2
    )


def test_a_negative_weight_of_the_likelihood_is_refused():
    with pytest.raises(ValueError, match="likelihood_weight"):
        number_token_real(jnp.zeros(10), jnp.float32(4.0), DIGITS, likelihood_weight=-1.0)


def test_the_value_is_that_of_the_published_code():
    """TRACT's `compute_raft_loss` with logits 9, 10, 12, 11, 8 of the scores 1 to 5, 28,778 others 0, and score 4."""
    scores = jnp.array([9.0, 10.0, 12.0, 11.0, 8.0])
    log_normalizer = jnp.logaddexp(jax.nn.logsumexp(scores), jnp.log(28_778.0))
    loss = number_token_raft(scores - log_normalizer, jnp.float32(4.0), jnp.arange(1.0, 6.0))
    np.testing.assert_allclose(loss, 1.4554502, rtol=1e-5)
