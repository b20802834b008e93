# SPDX-License-Identifier: Apache-2.0
"""The two programs: prefill puts prompts where they belong, and a segment decodes what whole rows say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import make_mesh
from ntl_jax.rollout.jax.cache import CacheShape, cache_sharding, empty_cache
from ntl_jax.rollout.jax.decode import PAGE, Geometry, SamplingArrays, Slots, decode
from ntl_jax.rollout.jax.prefill import prefill
from ntl_jax.rollout.jax.sampler.sample import Method
from ntl_jax.rollout.jax.sampler.truncation import Truncation

PROMPT = np.array([5, 9, 31, 2, 17])
GREEDY = Method(greedy=True, truncated=False, capture_digits=False, capture_entropy=False, capture_alternatives=False)


@pytest.fixture(scope="module")
def geometry(decoder) -> Geometry:
    """Two groups of one slot, each with one place for prompts of up to a page."""
    sharding = cache_sharding(make_mesh((1, 1, 1), jax.devices()[:1]), decoder.config.num_kv_heads)
    return Geometry(nnx.split(decoder)[0], 2, 1, 1, (PAGE,), (PAGE,), jnp.dtype(jnp.float32), sharding, GREEDY)


def caches(decoder, geometry):
    model = decoder.config
    shape = CacheShape(2, (PAGE,), model.num_layers, model.num_kv_heads, model.head_dim, geometry.dtype)
    return empty_cache(shape, geometry.sharding), empty_cache(shape, geometry.sharding)


def decoded(decoder, geometry, table, *, group: int, stop_id: int, remaining: int):
    """A segment of a prompt that lies in one group, beside an empty slot."""
    params = nnx.split(decoder)[1]
    prompts, own = caches(decoder, geometry)
    ids = np.zeros((1, PAGE), np.int32)
    ids[0, :4] = PROMPT[:-1]
    prompts = prefill(geometry, params, prompts, ids, np.array([group]), np.array([0]))

    def of_slot(value: int, dtype: type[np.integer] = np.int32):
        return np.where(np.arange(2) == group, value, 0).astype(dtype)

    slots = Slots(
        tokens=of_slot(PROMPT[-1]), counts=of_slot(0), remaining=of_slot(remaining), positions=of_slot(4),
        seeds=of_slot(0, np.uint32), prompt_draws=of_slot(0, np.uint32), sample_indices=of_slot(0),
        prompt_bounds=of_slot(4)[:, None],
    )  # fmt: skip
    whole = Truncation(np.float32(1), np.int32(0), np.float32(0))
    arrays = SamplingArrays(np.float32(0), whole, np.array([stop_id], np.int32))
    return decode(geometry, 1, 0, params, table, prompts, own, slots, arrays)[1]


def greedy_from_whole_rows(decoder, num_tokens: int) -> list[int]:
    size = len(PROMPT) + num_tokens
    run = jax.jit(lambda row: jnp.argmax(decoder(row) @ decoder.head(), axis=-1))
    row = np.zeros((1, size), np.int32)
    row[0, : len(PROMPT)] = PROMPT
    for at in range(len(PROMPT), size):
        row[0, at] = run(row)[0, at - 1]
    return row[0, len(PROMPT) :].tolist()


def test_a_segment_decodes_what_whole_rows_say_in_any_group_and_ends_at_stop_tokens_and_limits(
    decoder, geometry, table
):
    expected = greedy_from_whole_rows(decoder, 6)
    for group in (0, 1):
        segment = decoded(decoder, geometry, table, group=group, stop_id=-1, remaining=6)
        assert segment.captured.tokens[:6, group].tolist() == expected
        assert (segment.lengths[group], segment.lengths[1 - group], segment.stopped[group]) == (6, 0, False)
    stop_at = expected.index(expected[3]) + 1
    segment = decoded(decoder, geometry, table, group=1, stop_id=expected[3], remaining=6)
    assert (segment.lengths[1], segment.stopped.tolist()) == (stop_at, [False, True])


def test_prompts_of_groups_past_the_last_are_dropped(decoder, geometry):
    empty, _ = caches(decoder, geometry)
    zeros = jax.tree.map(np.asarray, empty)
    ids = np.ones((1, PAGE), np.int32)
    filled = prefill(geometry, nnx.split(decoder)[1], empty, ids, np.array([2]), np.array([0]))
    jax.tree.map(np.testing.assert_array_equal, filled, zeros)
