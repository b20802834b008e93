# SPDX-License-Identifier: Apache-2.0
"""The vocabulary head's walk over positions that are spread over devices: each device sums a gradient of its own.

Left to the compiler, the head's gradient may be summed over devices once a chunk. Here it is summed once, after the
walk, and each device receives the part of the sum that it keeps.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PyTree

PerPosition = TypeVar("PerPosition")


class Spread(NamedTuple):
    """Axes of the mesh that ``jax.set_mesh`` sets for the caller, over which the head's arguments lie.

    Args:
        positions: the axes over which positions are sharded; the devices along them must divide their number.
        vocab: the axis over which the head is sharded over its tokens; None: it is not.
        width: the one of ``positions`` over which the head's gradient is to be sharded over D; None: it is not.

    Example: one axis of one device
        >>> from ntl_jax.ops import vocab_head_loss
        >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
        >>> with jax.set_mesh(mesh):
        ...     loss, _ = vocab_head_loss(
        ...         lambda stats, _: -stats.log_probs, jnp.ones((2, 4)), jnp.zeros((4, 8)), jnp.array([0, 1]),
        ...         jnp.arange(0), spread=Spread(("data",), width="data"),
        ...     )
        >>> f"{loss:.3f}"
        '4.159'
    """

    positions: tuple[str, ...]
    vocab: str | None = None
    width: str | None = None


def walk_by_device(
    walk: Callable[[PyTree, PyTree], tuple[PerPosition, Array]], spread: Spread | None, positions: PyTree, whole: PyTree
) -> tuple[PerPosition, Array]:
    """A walk that each device takes over its own positions, and the sum of their gradients; None: one walk over all.

    Other axes of the mesh, such as that of the vocabulary, stay with the compiler.

    Args:
        walk: (positions, whole) -> (arrays with an entry a position, float32 gradient [V, D] of the head).
        spread: how the positions lie.
        positions: arrays with an entry a position.
        whole: arrays that every walk needs, of which the first one is the head.

    Returns:
        What the walk returns, the gradient in the head's dtype.
    """
    dtype = whole[0].dtype
    if spread is None:
        per_position, d_rows = walk(positions, whole)
        return per_position, d_rows.astype(dtype)
    axes = spread.positions

    def of_device(positions: PyTree, whole: PyTree) -> tuple[PerPosition, Array]:
        per_position, d_rows = walk(positions, whole)
        return per_position, jnp.expand_dims(d_rows, tuple(range(len(axes))))

    # Summed outside: jax.lax.psum_scatter, in there, would gather what lies in shards over the vocabulary.
    by_device = jax.shard_map(
        of_device, in_specs=(P(axes), P()), out_specs=(P(axes), P(*axes)), axis_names=set(axes), check_vma=False
    )
    per_position, parts = by_device(positions, whole)
    return per_position, _summed(parts, spread, dtype)


def _summed(parts: Float[Array, "... V D"], spread: Spread, dtype: DTypeLike) -> Float[Array, "V D"]:
    """The sum of the devices' gradients: over ``width`` first, so that only shards are summed over the other axes."""
    if spread.width is None:
        return jnp.sum(parts, axis=tuple(range(len(spread.positions)))).astype(dtype)
    index, kept = spread.positions.index(spread.width), P(spread.vocab, spread.width)
    others = spread.positions[:index] + spread.positions[index + 1 :]
    parts = jax.lax.with_sharding_constraint(jnp.sum(parts, axis=index), P(*others, *_summed_over(parts.shape, spread)))
    total = jnp.sum(parts, axis=tuple(range(len(others)))).astype(dtype)
    return jax.lax.with_sharding_constraint(total, kept)


def _summed_over(shape: tuple[int, ...], spread: Spread) -> tuple[str | tuple[str, ...] | None, str | None]:
    """Axes over which the sum is scattered: over V if it divides, since a part of it is one piece of memory.

    From parts of V, the parts of D are then exchanged between devices, which moves little. libtpu reduces and scatters
    pieces of memory; what it would have to pick column by column it reduces whole.
    """
    sizes, names = jax.sharding.get_abstract_mesh().shape, tuple(n for n in (spread.vocab, spread.width) if n)
    evenly = shape[-2] % math.prod(sizes[name] for name in names) == 0
    return (names, None) if evenly else (spread.vocab, spread.width)
