# SPDX-License-Identifier: Apache-2.0
"""Cache of keys and values for decoding: each prompt once, and each slot's own tokens, in blocks of doubling size.

A program reads only the blocks that some slot has reached. Blocks double in size, so there are few blocks and few
programs. Keys are stored [H, n]: on XLA:CPU this computes scores twice as fast as [n, H].
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.models.sharding import AnyMesh
from ntl_jax.records import AnyArray

Block = tuple[Float[Array, "X K H n"], Float[Array, "X K n H"]]
"""Keys and values of n positions."""
Cache = tuple[tuple[Block, ...], ...]
"""Blocks by layer, then by position."""
Where = tuple[Int[AnyArray, "n"], Int[AnyArray, "n"]]
"""The group and the place of each of n prompts."""


def padded(num_positions: int, unit: int) -> int:
    """Rounded up to whole units, and if these are several to pairs: XLA:CPU reads 48 positions more slowly than 64.

    Example:
        >>> [padded(n, unit=16) for n in (0, 5, 17, 40, 112)]
        [0, 16, 32, 64, 128]
    """
    unit = unit if num_positions <= unit else 2 * unit
    return -(-num_positions // unit) * unit


def block_sizes(num_positions: int, first: int) -> tuple[int, ...]:
    """Sizes of the blocks that hold this many positions: first, first, 2 first, 4 first, ...; the last is truncated.

    Example:
        >>> block_sizes(100, first=16)
        (16, 16, 32, 36)
    """
    sizes: list[int] = []
    while (held := sum(sizes)) < num_positions:
        sizes.append(min(held or first, num_positions - held))
    return tuple(sizes)


def block_starts(sizes: Sequence[int]) -> list[int]:
    """First position of each block."""
    return [sum(sizes[:i]) for i in range(len(sizes))]


def num_blocks_for(num_positions: int, sizes: tuple[int, ...]) -> int:
    """Number of blocks that hold the first ``num_positions``; at least one, to avoid a program for zero blocks."""
    return next(n for n in range(min(1, len(sizes)), len(sizes) + 1) if sum(sizes[:n]) >= num_positions)


@dataclasses.dataclass(frozen=True)
class CacheShape:
    """One cache: for each of ``num_rows`` slots or prompts, blocks of positions."""

    num_rows: int
    sizes: tuple[int, ...]
    num_layers: int
    num_kv_heads: int
    head_dim: int
    dtype: jnp.dtype

    @property
    def num_bytes(self) -> int:
        per_position = 2 * self.num_layers * self.num_kv_heads * self.head_dim * self.dtype.itemsize
        return self.num_rows * sum(self.sizes) * per_position

    @property
    def arithmetic(self) -> str:
        """The product that gives ``num_bytes``, as text."""
        return (
            f"{self.num_rows} rows x {sum(self.sizes)} positions x 2 (keys, values) x {self.num_layers} layers x "
            f"{self.num_kv_heads} heads x {self.head_dim} x {self.dtype.itemsize} bytes = "
            f"{self.num_bytes / 2**30:.2f} GiB"
        )


class CacheSettings(NamedTuple):
    """What the sizes of a cache are called where they are set, possibly with their values."""

    slots: str = "slots"
    max_tokens: str = "max_tokens"
    max_prompt_tokens: str = "max_prompt_tokens"
    slots_given: bool = True


@dataclasses.dataclass(frozen=True)
class TileShape:
    """Slots that one program decodes where it decodes some of all: groups of slots with one prompt each.

    Args:
        num_groups: groups per tile.
        group_size: slots per group.
    """

    num_groups: int
    group_size: int

    @property
    def num_slots(self) -> int:
        return self.num_groups * self.group_size


class TileRows(NamedTuple):
    """Where the caches of a tile lie: the slots' own, and the prompts of its groups; past the last: empty."""

    slots: Int[AnyArray, "X"]
    groups: Int[AnyArray, "n"]
    places: Int[AnyArray, "n"]


def cache_sharding(mesh: AnyMesh, num_kv_heads: int) -> NamedSharding:
    """Rows over data and fsdp, heads over tensor if they divide."""
    heads = "tensor" if num_kv_heads % mesh.shape["tensor"] == 0 else None
    return NamedSharding(mesh, P(("data", "fsdp"), heads))


@functools.partial(jax.jit, static_argnums=(0, 1))
def empty_cache(shape: CacheShape, sharding: NamedSharding) -> Cache:
    """A cache of zeros: masked-out entries must be finite."""
    x, k, h = shape.num_rows, shape.num_kv_heads, shape.head_dim

    def block(n: int) -> Block:
        return jnp.zeros((x, k, h, n), shape.dtype), jnp.zeros((x, k, n, h), shape.dtype)

    cache = tuple(tuple(block(n) for n in shape.sizes) for _ in range(shape.num_layers))
    return jax.lax.with_sharding_constraint(cache, sharding)


def check_memory(prompts: CacheShape, own: CacheShape, *, available: int, settings: CacheSettings) -> None:
    """Raises a ValueError that shows the arithmetic if the caches need more than ``available`` bytes."""
    needed = prompts.num_bytes + own.num_bytes
    if needed <= available:
        return
    fitting = own.num_rows * available // needed
    lower = f"lower {settings.max_tokens} or {settings.max_prompt_tokens}"
    if fitting and settings.slots_given:
        lower = f"lower {settings.slots}, {settings.max_tokens} or {settings.max_prompt_tokens}"
    elif fitting:
        lower = f"set {settings.slots} to at most {fitting}, or {lower}"
    raise ValueError(
        f"the cache does not fit: responses {own.arithmetic}; prompts {prompts.arithmetic}; together "
        f"{needed / 2**30:.2f} GiB of {available / 2**30:.2f} GiB available, in which {fitting} rows of responses fit: "
        f"{lower}"
    )


def visible(bound: Int[AnyArray, "X Q"], start: int, size: int) -> Bool[Array, "X 1 Q size"]:
    """Whether each of the positions start, ..., start + size - 1 lies below each query's bound."""
    return (start + jnp.arange(size))[None, None, None, :] < bound[:, None, :, None]


def take_rows(blocks: tuple[Block, ...], rows: Int[AnyArray, "n"]) -> tuple[Block, ...]:
    """Copies of these rows of the cache; an index past the last row takes any."""

    def take(x: Array) -> Array:  # of two axes, XLA:CPU copies twice as fast as of four
        return jnp.take(x.reshape(len(x), -1), rows, axis=0, mode="clip").reshape(-1, *x.shape[1:])

    return tuple((take(keys), take(values)) for keys, values in blocks)


def take_places(
    blocks: tuple[Block, ...], num_places: int, groups: Int[AnyArray, "n"], places: Int[AnyArray, "n"]
) -> tuple[Block, ...]:
    """Copies of the prompts in these places of these groups of a cache with ``num_places`` prompts side by side."""
    if num_places == 1:
        return take_rows(blocks, groups)
    taken = []
    for keys, values in blocks:
        keys, values = _by_place((keys, values), num_places)
        keys = keys.at[groups, :, :, places].get(mode="clip")
        taken.append((keys, values.at[groups, :, places].get(mode="clip")))
    return tuple(taken)


def write_places(
    blocks: tuple[Block, ...],
    new: Block,
    num_places: int,
    groups: Int[AnyArray, "n"],
    places: Int[AnyArray, "n"],
) -> tuple[Block, ...]:
    """Writes prompts into places of groups; those of a group past the last are dropped."""
    sizes = [values.shape[2] // num_places for _, values in blocks]
    written = []
    for size, start, block in zip(sizes, block_starts(sizes), blocks, strict=True):
        if start < new[1].shape[2]:
            keys, values = _by_place(block, num_places)
            new_keys, new_values = new[0][..., start : start + size], new[1][:, :, start : start + size]
            keys = keys.at[groups, :, :, places].set(new_keys, mode="drop").reshape(block[0].shape)
            block = keys, values.at[groups, :, places].set(new_values, mode="drop").reshape(block[1].shape)
        written.append(block)
    return tuple(written)


def _by_place(block: Block, num_places: int) -> tuple[Float[Array, "X K H p n"], Float[Array, "X K p n H"]]:
    keys, values = block
    return keys.reshape(*keys.shape[:3], num_places, -1), values.reshape(
        *values.shape[:2], num_places, -1, values.shape[3]
    )


def write_page(
    blocks: tuple[Block, ...], page: Block, page_index: Int[AnyArray, "X"], rows: Int[AnyArray, "X"] | None = None
) -> tuple[Block, ...]:
    """Writes each row's new page at its page index; past the last row or block it is dropped. None: rows 0, 1, ..."""
    keys, values = page
    rows = jnp.arange(len(page_index)) if rows is None else jnp.asarray(rows)
    size, first = values.shape[2], 0
    written = []
    for block_keys, block_values in blocks:
        x, k, n, h = block_values.shape
        here = page_index - first
        here = jnp.where(here >= 0, here, n)  # belongs to an earlier block: dropped
        new_keys = block_keys.reshape(x, k, h, n // size, size).at[rows, :, :, here].set(keys, mode="drop")
        new_values = block_values.reshape(x, k, n // size, size, h).at[rows, :, here].set(values, mode="drop")
        written.append((new_keys.reshape(x, k, h, n), new_values.reshape(x, k, n, h)))
        first += n // size
    return tuple(written)
