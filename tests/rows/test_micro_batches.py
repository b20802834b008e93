# SPDX-License-Identifier: Apache-2.0
"""How many rows go through a model at once."""

import itertools

from ntl_jax.rows.micro_batches import micro_batches


def test_parts_hold_all_rows_are_few_and_keep_to_the_bound():
    """Over every small case: one part fewer would break the bound, and one row a shard fewer would not hold all."""
    cases = itertools.product(range(1, 30), (8, 24), (1, 8, 50, 100, 1000), (1, 2, 4))
    for num_rows, row_size, max_tokens, num_shards in cases:
        parts, size = micro_batches(num_rows, row_size, max_tokens, num_shards)
        assert size % num_shards == 0 and parts * size >= num_rows
        at_most = max(num_shards, max_tokens // row_size // num_shards * num_shards)
        assert size <= at_most
        assert parts == 1 or (parts - 1) * at_most < num_rows
        assert parts * (size - num_shards) < num_rows


def test_rows_that_fit_are_one_part_of_just_these_rows():
    assert micro_batches(7, 96, 16384, 1) == (1, 7)
    assert micro_batches(7, 96, 16384, 2) == (1, 8)


def test_a_row_that_exceeds_the_bound_goes_alone():
    assert micro_batches(3, 512, 100, 1) == (3, 1)
