# SPDX-License-Identifier: Apache-2.0
"""Claims about the reduction: five modes, global denominators, empty rows, packing, bad tokens outside the mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.aggregate import MODES, aggregate, token_weights

# Rows of 2, 1 and 0 tokens; sums 4, 8 and 0. What stands outside the mask must not count.
LOSSES = jnp.array([[1.0, 3.0, 99.0], [8.0, 99.0, 99.0], [99.0, 99.0, 99.0]])
MASK = jnp.array([[True, True, False], [True, False, False], [False, False, False]])
EXPECTED = {
    "token-mean": 12 / 3,
    "token-sum": 12.0,
    "seq-mean-token-sum": (4 + 8) / 2,
    "seq-mean-token-mean": (4 / 2 + 8 / 1) / 2,
    "seq-mean-token-sum-norm": (4 + 8) / 2 / 3,
}


def normal(shape):
    return jnp.array(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("mode", MODES)
def test_the_modes_divide_as_they_say(mode):
    np.testing.assert_allclose(aggregate(LOSSES, MASK, mode=mode), EXPECTED[mode], rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_weights_give_the_same_sum_and_are_zero_outside_the_mask(mode):
    weights = token_weights(MASK, mode=mode, scale=7)
    np.testing.assert_allclose(aggregate(LOSSES, MASK, mode=mode, scale=7), jnp.sum(LOSSES * weights), rtol=1e-6)
    assert not weights[~MASK].any()


@pytest.mark.parametrize("mode", MODES)
def test_micro_batches_with_global_denominators_add_up_to_one_batch(mode):
    losses = normal((6, 5))
    mask = losses > -0.5
    mask = mask.at[4].set(False)
    denominators = {"num_tokens": mask.sum(), "num_sequences": 5, "scale": 5}
    whole = aggregate(losses, mask, mode=mode)
    for size in (2, 3):
        parts = [
            aggregate(losses[i : i + size], mask[i : i + size], mode=mode, **denominators) for i in range(0, 6, size)
        ]
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_packing_with_weights_computed_before_it_keeps_the_loss(mode):
    losses, mask = normal((3, 4)), jnp.array([[True] * 4, [True, False, True, False], [False, True, True, True]])
    weights = token_weights(mask, mode=mode, scale=4)
    packed = (losses.reshape(1, 12) * weights.reshape(1, 12)).sum()
    np.testing.assert_allclose(packed, aggregate(losses, mask, mode=mode), rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_packed_rows_with_segment_ids_have_the_same_token_weights_as_separate_rows(mode):
    # Two rows of two sequences each: of 4 and 2 tokens, of 3 and 0; the last has no masked token and does not count.
    losses = normal((4, 4))
    mask = jnp.array([[True] * 4, [True, False, True, False], [False, True, True, True], [False] * 4])
    packed, packed_mask = losses.reshape(2, 8), mask.reshape(2, 8)
    segment_ids = jnp.array([[3, 3, 3, 3, 7, 7, 7, 7], [0, 0, 0, 0, -1, -1, -1, -1]])
    weights = token_weights(packed_mask, mode=mode, scale=4, segment_ids=segment_ids)
    np.testing.assert_allclose(weights.reshape(4, 4), token_weights(mask, mode=mode, scale=4), rtol=1e-6)
    total = aggregate(packed, packed_mask, mode=mode, scale=4, segment_ids=segment_ids)
    np.testing.assert_allclose(total, aggregate(losses, mask, mode=mode, scale=4), rtol=1e-6)


def test_the_packed_length_is_not_used_as_scale():
    with pytest.raises(ValueError, match="needs scale"):
        token_weights(MASK, mode="seq-mean-token-sum-norm", segment_ids=jnp.zeros((3, 3), int))


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_mask_gives_zero_and_zero_gradient(mode):
    mask = jnp.zeros((2, 3), bool)
    value, gradient = jax.value_and_grad(lambda x: aggregate(x, mask, mode=mode))(jnp.full((2, 3), jnp.nan))
    assert value == 0 and not gradient.any()


def test_the_scale_does_not_depend_on_the_padding():
    padded = jnp.pad(LOSSES, ((0, 0), (0, 2))), jnp.pad(MASK, ((0, 0), (0, 2)))
    mode = "seq-mean-token-sum-norm"
    np.testing.assert_allclose(aggregate(*padded, mode=mode, scale=10), aggregate(LOSSES, MASK, mode=mode, scale=10))


def test_a_nan_is_dropped_outside_the_mask_and_seen_inside():
    losses = jnp.where(MASK, LOSSES, jnp.nan)
    value, gradient = jax.value_and_grad(aggregate)(losses, MASK)
    np.testing.assert_allclose(value, 4.0)
    np.testing.assert_allclose(gradient, np.where(MASK, 1 / 3, 0.0), rtol=1e-6)
    assert jnp.isnan(aggregate(losses.at[0, 0].set(jnp.nan), MASK))


def test_bfloat16_losses_are_summed_in_float32():
    losses = jnp.full((1, 1000), 1.0078125, jnp.bfloat16)
    total = aggregate(losses, jnp.ones((1, 1000), bool), mode="token-sum")
    assert total.dtype == jnp.float32 and total == 1007.8125


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="mode='mean' is none of token-mean, token-sum"):
        aggregate(LOSSES, MASK, mode="mean")
    with pytest.raises(ValueError, match="mask is float32"):
        aggregate(LOSSES, MASK.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"per_token \(3, 3\), mask \(2, 3\)"):
        aggregate(LOSSES, MASK[:2])
