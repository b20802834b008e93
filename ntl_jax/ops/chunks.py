# SPDX-License-Identifier: Apache-2.0
"""Cutting the rows of arrays into equal chunks that a scan can walk over, and putting them together again."""

from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def num_even_parts(fewest: int, *sizes: int) -> int:
    """The smallest number of parts, `fewest` to twice as many, that cuts the first of the sizes it can cut evenly.

    Returns `fewest` where none can be: the last part is then shorter.

    Example:
        >>> num_even_parts(4, 896), num_even_parts(3, 13, 27), num_even_parts(3, 13)
        (4, 3, 3)
    """
    divisors = [parts for size in sizes for parts in range(fewest, 2 * fewest + 1) if size % parts == 0]
    return divisors[0] if divisors else fewest


def split_rows(tree: Tree, num_chunks: int) -> Tree:
    """[N, ...] to [num_chunks, C, ...], zero rows appended; chunk k holds the rows k, k + num_chunks, ...

    Dealt out like cards and not cut like a deck, so that a device's share of sharded rows is a share of every chunk.

    Example:
        >>> split_rows(jnp.arange(1, 6), 2).tolist()
        [[1, 3, 5], [2, 4, 0]]
    """

    def split(x: jax.Array) -> jax.Array:
        rows = -(-x.shape[0] // num_chunks)
        padding = [(0, rows * num_chunks - x.shape[0])] + [(0, 0)] * (x.ndim - 1)
        return jnp.moveaxis(jnp.pad(x, padding).reshape(rows, num_chunks, *x.shape[1:]), 1, 0)

    return jax.tree.map(split, tree)


def join_rows(tree: Tree, num_rows: int) -> Tree:
    """[num_chunks, C, ...] back to [N, ...], without the rows that `split_rows` appended.

    Example:
        >>> join_rows(split_rows(jnp.arange(1, 6), 2), 5).tolist()
        [1, 2, 3, 4, 5]
    """

    def join(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, 0, 1).reshape(x.shape[0] * x.shape[1], *x.shape[2:])[:num_rows]

    return jax.tree.map(join, tree)
