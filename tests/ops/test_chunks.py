# SPDX-License-Identifier: Apache-2.0
"""Claims about cutting rows into chunks."""

import jax
import jax.numpy as jnp
import pytest

from ntl_jax.ops.chunks import join_rows, num_even_parts, split_rows


@pytest.mark.parametrize("num_rows", [1, 5, 12])
@pytest.mark.parametrize("num_chunks", [1, 3, 4])
def test_joining_undoes_splitting_for_every_leaf(num_rows, num_chunks):
    tree = {
        "a": jnp.arange(num_rows),
        "b": jnp.arange(num_rows * 2.0).reshape(num_rows, 2),
        "c": jnp.zeros((num_rows, 0)),
    }
    chunks = split_rows(tree, num_chunks)
    assert all(x.shape[0] == num_chunks for x in jax.tree.leaves(chunks))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, join_rows(chunks, num_rows), tree))


def test_every_chunk_holds_a_share_of_every_stretch_of_rows():
    chunks = split_rows(jnp.arange(12), 3)
    assert chunks.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


@pytest.mark.parametrize(
    ("fewest", "sizes", "parts"),
    [(1, (7,), 1), (4, (896,), 4), (3, (13,), 3), (3, (13, 39), 3), (3, (8, 64), 4), (5, (0,), 5)],
)
def test_parts_are_even_where_they_can_be_without_doubling(fewest, sizes, parts):
    assert num_even_parts(fewest, *sizes) == parts
