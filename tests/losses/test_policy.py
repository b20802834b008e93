# SPDX-License-Identifier: Apache-2.0
"""Claims about the policy objectives: hand-computed values, gradients on policy, extremes, masks, packing, entropy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.aggregate import aggregate
from ntl_jax.losses.policy import (
    cispo_policy_loss,
    clipped_policy_loss,
    entropy,
    gspo_policy_loss,
    reinforce_policy_loss,
    sapo_policy_loss,
)


def normal(shape):
    return jnp.array(np.random.default_rng(0).normal(size=shape), jnp.float32)


def gspo_over_whole_rows(log_probs, old_log_probs, advantages, **bounds):
    return gspo_policy_loss(log_probs, old_log_probs, advantages, jnp.ones(log_probs.shape, bool), **bounds)


RATIO_LOSSES = {
    "clipped": clipped_policy_loss,
    "dual clip": functools.partial(clipped_policy_loss, dual_clip=3.0),
    "gspo": gspo_over_whole_rows,
    "cispo": cispo_policy_loss,
    "sapo": sapo_policy_loss,
}
TOKEN_LOSSES = {**{k: v for k, v in RATIO_LOSSES.items() if k != "gspo"}, "reinforce": reinforce_policy_loss}


def each(losses):
    return pytest.mark.parametrize("loss", losses.values(), ids=losses.keys())


def log_probs_of(ratios, old_log_prob=-1.0):
    return jnp.log(jnp.array(ratios)) + old_log_prob


def test_clipped_loss_of_the_base_case():
    # r = [0.5, 1, 1.5]: max(-.5, -.8) = -.5; 1; max(-3, -2.4) = -2.4; mean -1.9 / 3.
    log_probs = jnp.array([[-1.69315, -1.0, -0.59453]])
    losses = clipped_policy_loss(log_probs, jnp.full((1, 3), -1.0), jnp.array([[1.0, -1.0, 2.0]]))
    np.testing.assert_allclose(losses, [[-0.5, 1.0, -2.4]], rtol=1e-5)
    np.testing.assert_allclose(aggregate(losses, jnp.ones((1, 3), bool)), -0.6333, atol=5e-5)


def test_dual_clip_bounds_the_loss_of_a_negative_advantage():
    # r = [0.5, 1, 10]: -.5; 1; max(40, 4.8) = 40, bounded by 4 * 3 = 12; mean 12.5 / 3.
    log_probs, old = jnp.array([[-1.69315, -1.0, -0.69741]]), jnp.array([[-1.0, -1.0, -3.0]])
    advantages, mask = jnp.array([[1.0, -1.0, -4.0]]), jnp.ones((1, 3), bool)
    losses = clipped_policy_loss(log_probs, old, advantages, dual_clip=3.0)
    np.testing.assert_allclose(aggregate(losses, mask), 4.1667, atol=5e-5)
    # r = [2, 2, .5]: max(-4, -2.4); max(4, 2.4) bounded by 3; max(-1, -1.6).
    losses = clipped_policy_loss(
        log_probs_of([2.0, 2.0, 0.5]), jnp.full(3, -1.0), jnp.array([2.0, -2.0, 2.0]), dual_clip=1.5
    )
    np.testing.assert_allclose(losses, [-2.4, 3.0, -1.0], rtol=1e-5)


def test_reinforce_of_the_base_case_ignores_the_old_log_probs():
    log_probs, advantages = jnp.array([[-0.5, -1.0, -1.5]]), jnp.array([[1.0, -1.0, 2.0]])
    losses = reinforce_policy_loss(log_probs, jnp.full((1, 3), jnp.nan), advantages)
    # (0.5 - 1 + 3) / 3
    np.testing.assert_allclose(aggregate(losses, jnp.ones((1, 3), bool)), 0.8333, atol=5e-5)


def test_clip_bounds_are_separate():
    log_probs, old, advantages = log_probs_of([[1.5], [0.5]]), jnp.full((2, 1), -1.0), jnp.array([[1.0], [-1.0]])
    bounds = {"clip_low": 0.25, "clip_high": 0.375}
    for loss in (clipped_policy_loss, gspo_over_whole_rows):
        np.testing.assert_allclose(loss(log_probs, old, advantages, **bounds), [[-1.375], [0.75]], rtol=1e-6)
    np.testing.assert_allclose(
        cispo_policy_loss(log_probs, old, advantages, **bounds), jnp.array([[-1.375], [0.75]]) * log_probs, rtol=1e-6
    )


def test_gspo_clips_as_its_paper_does_unless_told_otherwise():
    log_probs, old, advantages = log_probs_of([[1.1], [0.9]]), jnp.full((2, 1), -1.0), jnp.array([[1.0], [-1.0]])
    np.testing.assert_allclose(gspo_over_whole_rows(log_probs, old, advantages), [[-1.0004], [0.9997]], rtol=1e-6)


def test_the_clip_ends_the_gradient_only_where_the_move_would_be_rewarded():
    ratios, advantages = jnp.array([1.5, 1.5, 0.5, 0.5]), jnp.array([1.0, -1.0, 1.0, -1.0])
    gradient = jax.grad(lambda x: clipped_policy_loss(x, jnp.full(4, -1.0), advantages).sum())(log_probs_of(ratios))
    np.testing.assert_allclose(gradient, [0.0, 1.5, -0.5, 0.0], rtol=1e-5)


def test_cispo_keeps_the_gradient_of_clipped_tokens():
    ratios, advantages = jnp.array([5.0, 0.1]), jnp.array([2.0, -1.0])
    log_probs = log_probs_of(ratios)
    losses = cispo_policy_loss(log_probs, jnp.full(2, -1.0), advantages)
    np.testing.assert_allclose(losses, -np.array([1.2, 0.8]) * advantages * log_probs, rtol=1e-6)
    gradient = jax.grad(lambda x: cispo_policy_loss(x, jnp.full(2, -1.0), advantages).sum())(log_probs)
    np.testing.assert_allclose(gradient, [-2.4, 0.8], rtol=1e-6)


def test_sapo_gates_by_the_sign_of_the_advantage():
    # r = 2: sigmoid(1) = 0.731059; sigmoid(1.05) = 0.740775, times 4 / 1.05; A = 0 takes the negative branch to 0.
    losses = sapo_policy_loss(log_probs_of([2.0, 2.0, 2.0]), jnp.full(3, -1.0), jnp.array([1.0, -1.0, 0.0]))
    np.testing.assert_allclose(losses, [-4 * 0.731059, 0.740775 * 4 / 1.05, 0.0], rtol=1e-5)


@each({**RATIO_LOSSES, "reinforce": reinforce_policy_loss})
def test_the_gradient_on_policy_is_minus_the_advantage(loss):
    log_probs, advantages = jnp.array([[-0.3, -1.0, -2.5]]), jnp.array([[1.5, -2.0, 0.0]])
    np.testing.assert_allclose(jax.grad(lambda x: loss(x, x, advantages).sum())(log_probs), -advantages, rtol=1e-6)


@each({**RATIO_LOSSES, "reinforce": reinforce_policy_loss})
def test_old_log_probs_and_advantages_are_constants(loss):
    x = jnp.array([[-0.3, -1.0]])
    gradients = jax.grad(lambda *args: loss(*args).sum(), argnums=(1, 2))(x, x - 0.1, x)
    assert not np.any(gradients)


@each(RATIO_LOSSES)
@pytest.mark.parametrize("advantage", [3.0, -3.0])
def test_extreme_log_ratios_stay_finite_in_value_and_gradient(loss, advantage):
    log_probs = jnp.array([[-1e4, 0.0, -200.0, -1.0, 0.0]])
    old = jnp.array([[0.0, -1e4, -1.0, -200.0, -3e38]])
    total = jax.jit(jax.value_and_grad(lambda x: loss(x, old, jnp.full((1, 5), advantage)).sum()))
    value, gradient = total(log_probs)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@each({"clipped": clipped_policy_loss, "sapo": sapo_policy_loss})
def test_an_impossible_token_is_an_extreme_ratio(loss):
    log_probs, old = jnp.array([-jnp.inf, -1.0]), jnp.array([-1.0, -jnp.inf])
    value, gradient = jax.jit(jax.value_and_grad(lambda x: loss(x, old, jnp.ones(2)).sum()))(log_probs)
    assert np.isfinite(value) and not gradient[0] and np.isfinite(gradient).all()


@each({**TOKEN_LOSSES, "gspo": None})
def test_bad_tokens_outside_the_mask_change_neither_value_nor_gradient(loss):
    mask = jnp.array([[True, False, True, False, True, False]])
    bad = jnp.array([[0.0, jnp.nan, 0.0, -jnp.inf, 0.0, jnp.inf]])
    log_probs, old = jnp.array([[-1.0, -1, -2, -2, -3, -3]]) + bad, jnp.array([[-1.1, -1, -1.9, -2, -3.2, -3]]) + bad
    advantages = jnp.array([[1.0, 1, -1, -1, 2, 2]]) + bad

    def total(log_probs, old, advantages, mask):
        per_token = loss or functools.partial(gspo_policy_loss, mask=mask)
        return aggregate(per_token(log_probs, old, advantages), mask)

    value, gradient = jax.jit(jax.value_and_grad(total))(log_probs, old, advantages, mask)
    kept = [x[:, ::2] for x in (log_probs, old, advantages, mask)]
    dropped_value, dropped_gradient = jax.jit(jax.value_and_grad(total))(*kept)
    np.testing.assert_allclose(value, dropped_value, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, ::2], dropped_gradient, rtol=1e-6)
    assert not gradient[:, 1::2].any()


@each(TOKEN_LOSSES)
def test_a_bad_token_inside_the_mask_is_seen(loss):
    losses = loss(jnp.array([-1.0, jnp.nan]), jnp.array([-1.0, -1.0]), jnp.ones(2))
    np.testing.assert_array_equal(np.isnan(losses), [False, True])


@each(TOKEN_LOSSES)
def test_bfloat16_inputs_are_computed_in_float32(loss):
    inputs = [jnp.array(x, jnp.bfloat16) for x in ([-1.7, -0.3], [-1.2, -0.4], [0.3, -1.1])]
    losses = loss(*inputs)
    assert losses.dtype == jnp.float32
    np.testing.assert_array_equal(losses, loss(*(x.astype(jnp.float32) for x in inputs)))


@each(TOKEN_LOSSES)
def test_one_advantage_per_row_is_given_with_an_axis_of_size_one(loss):
    log_probs, old = jnp.array([[-1.0, -2.0], [-0.5, -0.1]]), jnp.array([[-1.1, -1.5], [-0.6, -0.2]])
    advantages = jnp.array([1.0, -2.0])
    full = jnp.broadcast_to(advantages[:, None], (2, 2))
    np.testing.assert_array_equal(loss(log_probs, old, advantages[:, None]), loss(log_probs, old, full))
    with pytest.raises(ValueError, match=r"advantages \(2,\).*x\[:, None\]"):
        loss(log_probs, old, advantages)


def test_a_dual_clip_that_would_bind_on_policy_is_refused():
    with pytest.raises(ValueError, match=r"dual_clip=0\.2 must be above 1"):
        clipped_policy_loss(jnp.zeros(1), jnp.zeros(1), jnp.zeros(1), dual_clip=0.2)


def test_gspo_ratio_is_the_geometric_mean_over_the_masked_tokens():
    d = jnp.array([[0.3, -0.1, 5.0], [0.0, 0.0, 0.0]])
    mask = jnp.array([[True, True, False], [False, False, False]])
    advantages = jnp.array([[-1.0], [-1.0]])
    losses, vjp = jax.vjp(
        lambda x: gspo_policy_loss(x, jnp.full((2, 3), -6.0), advantages, mask, clip_low=0.2, clip_high=0.2), d - 6.0
    )
    ratio = np.exp(0.1)
    np.testing.assert_allclose(losses, [[ratio, ratio, 0.0], [0.0, 0.0, 0.0]], rtol=1e-5)
    # Each token's gradient is the ratio times its own derivative: not shared among the tokens, not divided by T.
    np.testing.assert_allclose(vjp(jnp.ones((2, 3)))[0], [[ratio, ratio, 0.0], [0.0, 0.0, 0.0]], rtol=1e-5)


def test_gspo_caps_the_log_ratio_at_ten():
    losses = gspo_over_whole_rows(jnp.array([[0.0, 0.0]]), jnp.array([[-50.0, -50.0]]), -jnp.ones((1, 2)))
    np.testing.assert_allclose(losses, np.full((1, 2), np.exp(10.0)), rtol=1e-6)


def test_gspo_of_packed_rows_equals_gspo_of_separate_rows():
    log_probs, old, advantages = normal((3, 3, 4)) * 0.1
    mask = jnp.array([[True, True, False, True], [False, True, True, False], [True, True, True, True]])
    gspo = functools.partial(gspo_policy_loss, clip_low=0.05, clip_high=0.05)
    separate = gspo(log_probs, old, advantages, mask)
    # The first and the third sequence share the id 7, but are not neighbours.
    segment_ids = jnp.repeat(jnp.array([[7, -2, 7]]), 4, axis=1)
    packed = gspo(*(x.reshape(1, 12) for x in (log_probs, old, advantages, mask)), segment_ids=segment_ids)
    np.testing.assert_allclose(packed.reshape(3, 4), separate, rtol=1e-6)


def test_gspo_refuses_a_float_mask():
    x = jnp.zeros((1, 2))
    with pytest.raises(ValueError, match="mask is float32"):
        gspo_policy_loss(x, x, x, jnp.ones((1, 2)))


def test_entropy_equals_the_sum_in_float64():
    logits = normal((5, 11)) * 4.0
    z = np.asarray(logits, np.float64)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    np.testing.assert_allclose(entropy(logits), -(p * np.log(p)).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(entropy(logits + 4096.0), entropy(logits), rtol=1e-3)


def test_entropy_of_the_base_cases():
    logits = jnp.array(
        [[2.0, 2.0, 2.0, 2.0], [0.0, 0.0, -jnp.inf, -jnp.inf], [1e4, 0.0, 0.0, 0.0], [-3e38, 0.0, 3e38, 0.0]]
    )
    np.testing.assert_allclose(entropy(logits), [np.log(4), np.log(2), 0.0, 0.0], rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda z: entropy(z).sum()))(logits)
    assert np.isfinite(gradient).all()


def test_entropy_gradient_is_that_of_its_definition():
    logits = normal((6,))

    def definition(z):
        log_probs = jax.nn.log_softmax(z)
        return -jnp.sum(jnp.exp(log_probs) * log_probs)

    gradients = jax.jit(lambda z: (jax.grad(entropy)(z), jax.grad(definition)(z)))(logits)
    np.testing.assert_allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_row_without_a_distribution_has_no_entropy_and_no_gradient(bad):
    logits = jnp.array([[bad, bad], [0.0, 1.0]])
    mask = jnp.array([False, True])
    values, gradient = jax.jit(lambda z: (entropy(z), jax.grad(lambda z: aggregate(entropy(z), mask))(z)))(logits)
    np.testing.assert_array_equal(np.isnan(values), [True, False])
    assert not gradient[0].any() and np.isfinite(gradient).all()
