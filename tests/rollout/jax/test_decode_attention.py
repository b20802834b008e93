# SPDX-License-Identifier: Apache-2.0
"""Merged attention over blocks is attention over their union; what is masked changes no bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.rollout.jax.decode_attention import attend_block, merge, normalized

SIZES = (8, 24, 5)


@pytest.fixture(scope="module")
def problem():
    """Queries, blocks of keys and values of 37 positions, and a mask of each."""
    rng = np.random.default_rng(0)
    q = rng.normal(size=(3, 2, 4, 16)).astype(np.float32) * 3
    blocks = [(rng.normal(size=(3, 2, 16, n)), rng.normal(size=(3, 2, n, 16))) for n in SIZES]
    masks = [rng.random((3, 1, 1, n)) < 0.7 for n in SIZES]
    return q, [(k.astype(np.float32), v.astype(np.float32)) for k, v in blocks], masks


def merged(q, blocks, masks):
    return normalized(merge([attend_block(q, k, v, mask) for (k, v), mask in zip(blocks, masks, strict=True)]))


def test_merged_blocks_equal_one_softmax_over_all_positions(problem):
    q, blocks, masks = problem
    keys, values = np.concatenate([k for k, _ in blocks], 3), np.concatenate([v for _, v in blocks], 2)
    scores = jnp.einsum("xkqh,xkhn->xkqn", q, keys) / 4
    weights = jax.nn.softmax(jnp.where(np.concatenate(masks, 3), scores, -jnp.inf), axis=-1)
    expected = jnp.einsum("xkqn,xknh->xkqh", weights, values)
    np.testing.assert_allclose(merged(q, blocks, masks), expected, atol=2e-6)


@pytest.mark.parametrize("wrap", [jax.jit, lambda f: f])
def test_blocks_without_positions_change_no_bit_wherever_they_stand(problem, wrap):
    q, blocks, masks = problem
    nothing = [np.zeros_like(mask) for mask in masks]
    expected = np.asarray(wrap(merged)(q, blocks[:2], masks[:2]))
    for order in ([0, 1, 2], [2, 0, 1], [2, 0, 2, 1, 2]):
        chosen = [masks[i] if i < 2 else nothing[i] for i in order]
        np.testing.assert_array_equal(wrap(merged)(q, [blocks[i] for i in order], chosen), expected)


@pytest.mark.parametrize("size", [16, 48, 64, 112])
def test_the_place_of_a_sequence_among_others_changes_no_bit(size):
    rng = np.random.default_rng(0)
    q = jnp.asarray(rng.normal(size=(3, 2, 8, 16)), jnp.float32)
    attend = jax.jit(lambda *block: attend_block(q, *block, num_places=4))
    keys, values = rng.normal(size=(3, 2, 16, size)), rng.normal(size=(3, 2, size, 16))
    found = []
    for place in range(4):
        all_keys, all_values = rng.normal(size=(3, 2, 16, 4, size)), rng.normal(size=(3, 2, 4, size, 16))
        all_keys[:, :, :, place], all_values[:, :, place] = keys, values
        mask = np.zeros((1, 1, 1, 4, size), bool)
        mask[..., place, : size - 3] = True
        block = (all_keys.reshape(3, 2, 16, -1), all_values.reshape(3, 2, -1, 16))
        found.append(attend(*(x.astype(np.float32) for x in block), mask.reshape(1, 1, 1, -1)))
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, found[0])


def test_extreme_scores_stay_finite(problem):
    q, blocks, masks = problem
    for scale in (1e4, 1e-30):
        assert np.isfinite(merged(q * scale, blocks, masks)).all()
