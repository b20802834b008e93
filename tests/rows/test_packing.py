# SPDX-License-Identifier: Apache-2.0
"""Packed rows hold every sequence once, whole, and in few shapes."""

import numpy as np

from ntl_jax.records import Batch, Experience, Rows, TokenWeights, Values
from ntl_jax.rows.packing import pack, padding_fraction, sequence_lengths
from ntl_jax.rows.padding import RowShape, pad_rows


def random_batch(seed: int, count: int = 40):
    rng = np.random.default_rng(seed)
    prompts, responses = ([rng.integers(1, 99, n) for n in rng.integers(1, top, count)] for top in (9, 17))
    nothing = [np.full(len(r), np.nan) for r in responses]
    keep = rng.uniform(size=count) < 0.9
    rows, targets = pad_rows(prompts, responses, RowShape(24, 16), numbers=nothing, keep=keep)
    noise = rng.normal(size=(6, *targets.mask.shape)).astype(np.float32)
    experience = Experience(targets, noise[0], noise[1], values=Values(noise[2], noise[3]))
    return prompts, responses, keep, Batch(rows, experience, TokenWeights(noise[4], noise[5]))


def test_every_sequence_that_counts_is_there_once_with_all_that_belongs_to_it():
    prompts, responses, keep, batch = random_batch(0)
    packed = pack(batch)
    rows, tokens = packed.rows, packed.tokens
    assert isinstance(rows, Rows) and rows.segment_ids is not None
    assert tokens.values is not None and batch.tokens.values is not None
    found = []
    for row in range(len(rows.tokens)):
        for segment in range(1, rows.segment_ids[row].max() + 1):
            here = rows.segment_ids[row] == segment
            assert rows.positions[row, here].tolist() == list(range(here.sum()))
            mine = tokens.mask[row] & (rows.segment_ids[row, rows.predictors[row]] == segment)
            np.testing.assert_array_equal(
                rows.tokens[row, rows.predictors[row, mine] + 1], tokens.targets.ids[row, mine]
            )
            of_tokens = tokens.advantages, tokens.old_log_probs, *tokens.values, *packed.weights[:2]
            found.append((rows.tokens[row, here].tolist(), [x[row, mine].tolist() for x in of_tokens]))
    of_tokens = batch.tokens.advantages, batch.tokens.old_log_probs, *batch.tokens.values, *batch.weights[:2]
    expected = [
        (np.concatenate([prompts[i], responses[i]]).tolist(), [x[i, : len(responses[i])].tolist() for x in of_tokens])
        for i in np.flatnonzero(keep)
    ]
    assert sorted(found) == sorted(expected)


def test_packing_takes_few_shapes_and_leaves_less_padding():
    batches = [random_batch(seed)[-1] for seed in range(20)]
    packed = [pack(batch, multiple_of=4).rows for batch in batches]
    assert all(p.shape[0] % 8 == 0 for p in packed) and len({p.shape for p in packed}) <= 5
    unpacked = [padding_fraction(b.rows) for b in batches]
    assert np.mean([padding_fraction(p) for p in packed]) < 0.7 * np.mean(unpacked)


def test_what_is_absent_stays_absent():
    batch = random_batch(0)[-1]
    packed = pack(batch)
    assert packed.weights.reference is None and packed.tokens.correction_weights is None


def test_of_sequences_that_do_not_count_a_row_of_padding_remains():
    batch = random_batch(0)[-1]
    targets = batch.tokens.targets._replace(mask=np.zeros_like(batch.tokens.mask))
    packed = pack(batch._replace(tokens=batch.tokens._replace(targets=targets)), multiple_of=2)
    assert packed.rows.shape[0] % 2 == 0 and padding_fraction(packed.rows) == 1.0
    assert not packed.tokens.mask.any()


def test_lengths_are_read_off_the_rows_whether_tokens_count_or_not():
    prompts, responses, _, batch = random_batch(1)
    assert isinstance(batch.rows, Rows)
    row_lengths, response_lengths = sequence_lengths(batch.rows)
    assert response_lengths.tolist() == [len(r) for r in responses]
    assert row_lengths.tolist() == [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    assert padding_fraction(batch.rows) == 1 - row_lengths.sum() / batch.rows.tokens.size
