# SPDX-License-Identifier: Apache-2.0
"""Packed rows hold every sequence once, whole, and in few shapes."""

import numpy as np

from ntl_jax.rows.packing import pack, padding_fraction
from ntl_jax.rows.padding import RowShape, pad_rows


def random_rows(seed: int, count: int = 40):
    rng = np.random.default_rng(seed)
    prompts, responses = ([rng.integers(1, 99, n) for n in rng.integers(1, top, count)] for top in (9, 17))
    nothing = [np.full(len(r), np.nan) for r in responses]
    keep = rng.uniform(size=count) < 0.9
    batch = pad_rows(prompts, responses, RowShape(24, 16), number_targets=nothing, keep=keep)
    return prompts, responses, keep, batch._replace(advantages=rng.normal(size=batch.mask.shape).astype(np.float32))


def test_every_sequence_that_counts_is_there_once_with_all_that_belongs_to_it():
    prompts, responses, keep, batch = random_rows(0)
    packed = pack(batch)
    assert packed.segment_ids is not None
    found = []
    for row in range(len(packed.tokens)):
        for segment in range(1, packed.segment_ids[row].max() + 1):
            here = packed.segment_ids[row] == segment
            assert packed.positions[row, here].tolist() == list(range(here.sum()))
            mine = packed.mask[row] & (packed.segment_ids[row, packed.predictors[row]] == segment)
            np.testing.assert_array_equal(
                packed.tokens[row, packed.predictors[row, mine] + 1], packed.targets[row, mine]
            )
            found.append((packed.tokens[row, here].tolist(), np.asarray(packed.advantages)[row, mine].tolist()))
    advantages = np.asarray(batch.advantages)
    expected = [
        (np.concatenate([prompts[i], responses[i]]).tolist(), advantages[i, : len(responses[i])].tolist())
        for i in np.flatnonzero(keep)
    ]
    assert sorted(found) == sorted(expected)


def test_packing_takes_few_shapes_and_leaves_less_padding():
    batches = [random_rows(seed)[-1] for seed in range(20)]
    packed = [pack(batch, multiple_of=4) for batch in batches]
    assert all(len(p.tokens) % 8 == 0 for p in packed) and len({p.tokens.shape for p in packed}) <= 5
    assert np.mean([padding_fraction(p) for p in packed]) < 0.7 * np.mean([padding_fraction(b) for b in batches])
