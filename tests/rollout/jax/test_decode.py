# SPDX-License-Identifier: Apache-2.0
"""A segment of decode steps gives what whole rows say."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ntl_jax.rollout.jax.decode import PAGE, SamplingArrays, Slots, decode
from ntl_jax.rollout.jax.prefill import prefill
from ntl_jax.rollout.jax.sampler.truncation import Truncation

PROMPT = np.array([5, 9, 31, 2, 17])


def decoded(decoder, geometry, caches, table, *, group: int, stop_id: int, remaining: int):
    """A segment of a prompt that lies in one group, beside an empty slot."""
    params = nnx.split(decoder)[1]
    prompts, own = caches()
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
    decoder, geometry, caches, table
):
    expected = greedy_from_whole_rows(decoder, 6)
    for group in (0, 1):
        segment = decoded(decoder, geometry, caches, table, group=group, stop_id=-1, remaining=6)
        assert segment.captured.tokens[:6, group].tolist() == expected
        assert (segment.lengths[group], segment.lengths[1 - group], segment.stopped[group]) == (6, 0, False)
    stop_at = expected.index(expected[3]) + 1
    segment = decoded(decoder, geometry, caches, table, group=1, stop_id=expected[3], remaining=6)
    assert (segment.lengths[1], segment.stopped.tolist()) == (stop_at, [False, True])
