# SPDX-License-Identifier: Apache-2.0
"""Cache of keys and values for decoding: each prompt once, and each slot's own tokens, in blocks of doubling size.

A program reads only the blocks that some slot has reached. Blocks double in size, so there are few blocks and few
programs. Keys are stored [H, n]: on XLA:CPU this computes scores twice as fast as [n, H].
"""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.records import AnyArray

Block = tuple[Float[Array, "X K H n"], Float[Array, "X K n H"]]
"""Keys and values of n positions."""
Cache = tuple[tuple[Block, ...], ...]
"""Blocks by layer, then by position."""
Where = tuple[Int[AnyArray, "n"], Int[AnyArray, "n"]]
"""The group and the place of each of n prompts."""


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


def block_starts(sizes: tuple[int, ...]) -> list[int]:
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


def cache_sharding(mesh: Mesh, num_kv_heads: int) -> NamedSharding:
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


def free_bytes(mesh: Mesh) -> int:
    """Total free memory of the mesh's devices; on CPU, which reports no limit, the machine's memory."""
    devices = list(mesh.local_devices)
    stats = [device.memory_stats() for device in devices]
    if any(s is None or "bytes_limit" not in s for s in stats):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return sum(s["bytes_limit"] - s["bytes_in_use"] for s in stats if s is not None)


def check_memory(prompts: CacheShape, own: CacheShape, *, available: int) -> None:
    """Raises a ValueError that shows the arithmetic if the caches need more than ``available`` bytes."""
    needed = prompts.num_bytes + own.num_bytes
    if needed > available:
        raise ValueError(
            f"the cache does not fit: responses {own.arithmetic}; prompts {prompts.arithmetic}; "
            f"together {needed / 2**30:.2f} GiB of {available / 2**30:.2f} GiB available. Lower slots={own.num_rows} "
            f"to at most {own.num_rows * available // needed}, or lower max_tokens or max_prompt_tokens"
        )


def visible(bound: Int[AnyArray, "X Q"], start: int, size: int) -> Bool[Array, "X 1 Q size"]:
    """Whether each of the positions start, ..., start + size - 1 lies below each query's bound."""
    return (start + jnp.arange(size))[None, None, None, :] < bound[:, None, :, None]


def write_prompts(blocks: tuple[Block, ...], new: Block, where: Where, num_places: int) -> tuple[Block, ...]:
    """Writes prompts into their groups' places; groups past the last are dropped.

    Args:
        blocks: one layer's blocks, with ``num_places`` prompts side by side.
        new: keys and values of n prompts.
        where: where each prompt goes.
        num_places: places of a group.
    """
    groups, places = where
    num_positions = new[1].shape[2]

    def put(block: Block, start: int) -> Block:
        if start >= num_positions:
            return block
        keys, values = block
        r, k, n, h = values.shape
        size = n // num_places
        by_place = keys.reshape(r, k, h, -1, size), values.reshape(r, k, -1, size, h)
        new_keys, new_values = new[0][..., start : start + size], new[1][:, :, start : start + size]
        keys = by_place[0].at[groups, :, :, places].set(new_keys, mode="drop")
        values = by_place[1].at[groups, :, places].set(new_values, mode="drop")
        return keys.reshape(r, k, h, n), values.reshape(r, k, n, h)

    starts = block_starts(tuple(values.shape[2] // num_places for _, values in blocks))
    return tuple(put(block, start) for start, block in zip(starts, blocks, strict=True))


def write_page(blocks: tuple[Block, ...], page: Block, page_index: Int[AnyArray, "X"]) -> tuple[Block, ...]:
    """Writes each row's new page at its page index; an index past the last block is dropped."""
    keys, values = page
    rows, size, first = jnp.arange(len(page_index)), values.shape[2], 0
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
