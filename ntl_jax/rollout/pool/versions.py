# SPDX-License-Identifier: Apache-2.0
"""Versions of the weights in Ray's object store: the trainer puts each version there once, and workers pull it.

A version is immutable and goes over in buckets, each an object. The next bucket is gathered from the devices while this
one is copied. Every array carries a checksum, which the worker verifies.
"""

import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ntl_jax.records import Params, Version, Weights

BUCKET_BYTES = 256 * 2**20
"""Arrays that are gathered and copied together; a larger array is a bucket of its own."""
CHECKSUM_THREADS = 2
SUMMED_WORDS = 64
"""Words of 8 bytes that `checksum` adds up: 15 GB/s per core, where crc32 of all bytes has 3.4."""


class PulledWeightsError(RuntimeError):
    """The weights that a worker pulled are not those that the trainer put into the store."""


class StoredVersion(NamedTuple):
    """One version of the weights in the object store.

    Args:
        version: identifies the weights.
        tree: the parameters' tree; each leaf is the array's index.
        buckets: references to lists of arrays; bfloat16 is stored as its bits, uint16.
        checksums: `checksum` of each array.
        dtype: dtype of all arrays.
    """

    version: Version
    tree: Params
    buckets: tuple[Any, ...]
    checksums: tuple[int, ...]
    dtype: str


def store(
    weights: Weights, dtype: str, put: Callable[[list[np.ndarray]], Any], *, bucket_bytes: int = BUCKET_BYTES
) -> StoredVersion:
    """Gathers the weights from their devices, casts them there, and puts them into the object store.

    Args:
        weights: one version; its arrays are not read any more when this returns.
        dtype: dtype in the store: "float32" or "bfloat16".
        put: puts a bucket into the store and returns its reference, ``ray.put``.
        bucket_bytes: most bytes of a bucket.
    """
    leaves, tree = jax.tree.flatten(weights.params)
    references, checksums = [], []
    with ThreadPoolExecutor(CHECKSUM_THREADS) as threads:
        for arrays in _gathered(leaves, dtype, bucket_bytes):
            sums = threads.map(checksum, arrays)
            references.append(put(arrays))
            checksums += sums
    return StoredVersion(
        weights.version,
        jax.tree.unflatten(tree, range(len(leaves))),
        tuple(references),
        tuple(checksums),
        dtype,
    )


def pull(stored: StoredVersion, get: Callable[[Sequence[Any]], list[list[np.ndarray]]]) -> Weights:
    """A version from the object store, whole and verified; its arrays lie in the store's memory and are read-only.

    Args:
        stored: where it lies.
        get: fetches objects by their references, ``ray.get``.

    Raises:
        PulledWeightsError: naming the arrays whose checksum is wrong.
    """
    arrays = [array for bucket in get(list(stored.buckets)) for array in bucket]
    with ThreadPoolExecutor(CHECKSUM_THREADS) as threads:
        found = tuple(threads.map(checksum, arrays))
    if damaged := [index for index, (a, b) in enumerate(zip(found, stored.checksums, strict=True)) if a != b]:
        raise PulledWeightsError(
            f"{len(damaged)} of {len(arrays)} arrays of {stored.version} changed on their way, the first with number "
            f"{damaged[0]}"
        )
    typed = [array.view(jnp.dtype(stored.dtype)) for array in arrays]
    return Weights(stored.version, jax.tree.map(lambda index: typed[index], stored.tree))


def checksum(array: np.ndarray) -> int:
    """The crc32 of the sums of every 64 words, and of the bytes that are left.

    A flipped bit always changes it. A block of other bytes changes it, except with a chance of 1 in 2^32. Words that
    swap places within 512 bytes do not change it.

    Args:
        array: contiguous.

    Example:
        >>> values = np.arange(1000, dtype=np.float32)
        >>> before = checksum(values)
        >>> values.view(np.uint32)[500] ^= 1 << 7
        >>> checksum(values) == before
        False
    """
    data = array.reshape(-1).view(np.uint8)
    words, rest = np.split(data, [data.size - data.size % (8 * SUMMED_WORDS)])
    sums = np.add.reduce(words.view(np.uint64).reshape(-1, SUMMED_WORDS), axis=1)
    return zlib.crc32(rest.data, zlib.crc32(sums.data))


def _gathered(leaves: Sequence[jax.Array], dtype: str, bucket_bytes: int) -> Iterator[list[np.ndarray]]:
    """The arrays on the host, bucket by bucket; the next bucket is gathered while the caller copies this one."""
    coming: list[jax.Array] = []
    for bucket in [*_buckets(leaves, jnp.dtype(dtype).itemsize, bucket_bytes), []]:
        arrived, coming = coming, _gather(bucket, dtype) if bucket else []
        for array in coming:
            array.copy_to_host_async()
        if arrived:
            yield [_bits(np.asarray(array)) for array in arrived]


def _buckets(leaves: Sequence[jax.Array], itemsize: int, bucket_bytes: int) -> Iterator[list[jax.Array]]:
    bucket, size = [], 0
    for leaf in leaves:
        if bucket and size + leaf.size * itemsize > bucket_bytes:
            yield bucket
            bucket, size = [], 0
        bucket.append(leaf)
        size += leaf.size * itemsize
    yield bucket


def _gather(leaves: Sequence[jax.Array], dtype: str) -> list[jax.Array]:
    """The arrays whole on each device, cast; where they are so, and the host reads that memory, nothing is computed.

    Then other objects of the same memory, since an array keeps what the host has read of it.
    """
    if all(_is_whole(leaf, dtype) for leaf in leaves):
        return [leaf.addressable_data(0) for leaf in leaves]
    sharding = leaves[0].sharding
    whole = NamedSharding(sharding.mesh, PartitionSpec()) if isinstance(sharding, NamedSharding) else sharding
    return _gathering(dtype, whole)(list(leaves))


def _is_whole(leaf: jax.Array, dtype: str) -> bool:
    return leaf.dtype == dtype and leaf.is_fully_replicated and next(iter(leaf.devices())).platform == "cpu"


@functools.cache
def _gathering(dtype: str, whole: jax.sharding.Sharding) -> Callable[[list[jax.Array]], list[jax.Array]]:
    return jax.jit(lambda arrays: [array.astype(dtype) for array in arrays], out_shardings=whole)


def _bits(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that pickling passes on without a copy, which it does not do with bfloat16."""
    whole = np.ascontiguousarray(array)
    return whole.view(np.uint16) if whole.dtype.name == "bfloat16" else whole
