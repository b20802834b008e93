# SPDX-License-Identifier: Apache-2.0
"""Cutting the rows of arrays into equal chunks that a scan can walk over, and putting them together again."""

import math
from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")

# Bytes of float32 logits per chunk if the caller gives no chunk size, but never fewer rows than CHUNK_ROWS: the head's
# gradient is read and written once per chunk, which must cost less than the chunk's own arithmetic.
CHUNK_BYTES = 32 << 20
CHUNK_ROWS = 256


def num_even_parts(fewest: int, *sizes: int) -> int:
    """The smallest number of parts, `fewest` to twice as many, that cuts the first of the sizes it can cut evenly.

    Returns `fewest` where none can be: the last part is then shorter.

    Example:
        >>> num_even_parts(4, 896), num_even_parts(3, 13, 27), num_even_parts(3, 13)
        (4, 3, 3)
    """
    divisors = [parts for size in sizes for parts in range(fewest, 2 * fewest + 1) if size % parts == 0]
    return divisors[0] if divisors else fewest


def num_chunks(shape: tuple[int, ...], vocab_size: int, chunk_size: int | None) -> int:
    """The number of chunks, of at most ``chunk_size`` positions each (None: the default), for positions of this shape.

    If possible, a divisor of the last axis, so that chunks have equal sizes on every device.
    """
    num_rows = math.prod(shape)
    rows = chunk_size or max(CHUNK_ROWS, CHUNK_BYTES // (4 * vocab_size))
    return num_even_parts(max(1, -(-num_rows // rows)), *shape[-1:], num_rows)


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


def merge_axes(tree: Tree, num_axes: int) -> Tree:
    """Merges the leading axes of every leaf: [..., *] to [N, *]."""
    return jax.tree.map(lambda x: x.reshape(math.prod(x.shape[:num_axes]), *x.shape[num_axes:]), tree)


def part_axis(tree: Tree, shape: tuple[int, ...]) -> Tree:
    """The inverse of `merge_axes`: the first axis becomes axes of this shape."""
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), tree)
