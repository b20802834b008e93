# SPDX-License-Identifier: Apache-2.0
"""Blocks of the cache: their sizes, where a page goes, what too large a cache is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.rollout.jax.cache import (
    CacheSettings,
    CacheShape,
    block_sizes,
    check_memory,
    num_blocks_for,
    visible,
    write_page,
)


@pytest.mark.parametrize("num_positions", [0, 1, 16, 17, 48, 100, 496])
def test_blocks_hold_all_positions_and_are_logarithmically_many(num_positions):
    sizes = block_sizes(num_positions, first=16)
    assert sum(sizes) == num_positions
    assert len(sizes) <= 1 + np.ceil(np.log2(max(1, num_positions / 16)))


def test_the_number_of_blocks_is_the_least_that_holds_the_positions():
    sizes = (16, 16, 32)
    assert [num_blocks_for(n, sizes) for n in (0, 1, 16, 17, 32, 33, 64)] == [1, 1, 1, 2, 2, 3, 3]
    assert num_blocks_for(0, ()) == 0


@pytest.mark.parametrize("wrap", [jax.jit, lambda f: f])
def test_a_page_goes_to_its_rows_index_and_one_past_the_end_is_dropped(wrap):
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(6, 2, 3, 4)).astype(np.float32), rng.normal(size=(6, 2, 4, 3)).astype(np.float32)
    blocks = tuple((jnp.zeros((6, 2, 3, n)), jnp.zeros((6, 2, n, 3))) for n in (8, 4))
    written = wrap(write_page)(blocks, (keys, values), jnp.array([0, 1, 2, 3, 1, 0]))
    all_keys = np.concatenate([k for k, _ in written], axis=3).reshape(6, 2, 3, 3, 4)
    all_values = np.concatenate([v for _, v in written], axis=2).reshape(6, 2, 3, 4, 3)
    for row, index in enumerate([0, 1, 2, 3, 1, 0]):
        for page in range(3):
            expected = (keys[row], values[row]) if page == index else (0 * keys[row], 0 * values[row])
            np.testing.assert_array_equal(all_keys[row, :, :, page], expected[0])
            np.testing.assert_array_equal(all_values[row, :, page], expected[1])


def test_positions_below_the_bound_are_visible():
    assert visible(jnp.array([[0], [5]]), start=4, size=3)[:, 0, 0].tolist() == [[False] * 3, [True, False, False]]


def test_a_cache_larger_than_memory_is_refused_with_the_arithmetic():
    prompts = CacheShape(8, (256,), 2, 2, 16, jnp.dtype("float32"))
    own = CacheShape(64, (48, 48), 2, 2, 16, jnp.dtype("float32"))
    assert own.num_bytes == 64 * 96 * 2 * 2 * 2 * 16 * 4
    settings = CacheSettings("rollout.slots", "rollout.max_tokens=96")
    check_memory(prompts, own, available=own.num_bytes + prompts.num_bytes, settings=settings)
    with pytest.raises(ValueError) as error:
        check_memory(prompts, own, available=own.num_bytes // 2, settings=settings)
    message = str(error.value)
    assert "64 rows x 96 positions x 2 (keys, values) x 2 layers x 2 heads x 16 x 4 bytes" in message
    assert "in which 24 rows of responses fit: lower rollout.slots, rollout.max_tokens=96 or max_prompt" in message
    with pytest.raises(ValueError, match=r"set rollout.slots to at most 24, or lower rollout.max_tokens=96 or max"):
        check_memory(prompts, own, available=own.num_bytes // 2, settings=settings._replace(slots_given=False))
