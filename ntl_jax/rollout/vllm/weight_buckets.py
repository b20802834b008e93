# SPDX-License-Identifier: Apache-2.0
"""A policy's weights for another engine: Hugging Face's names and layout, in buckets.

One bucket at a time is gathered from the devices, so the host never holds a second copy of the policy. Buckets are
passed directly within a process, and as safetensors files between processes.
"""

import math
import pathlib
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from ntl_jax.models.hf.files import EMBEDDING, HEAD
from ntl_jax.models.hf.names import hf_layout
from ntl_jax.models.hf.safetensors import read_tensors, write_tensors
from ntl_jax.records import Params

Bucket = Mapping[str, np.ndarray]
"""Some of the tensors, by name."""


def sent_shapes(params: Params, num_ids: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor as sent, by name; no tensor is fetched.

    Args:
        params: parameters of a decoder: arrays or their shapes.
        num_ids: number of ids that can be sampled, ``ModelConfig.num_ids``.
    """
    shapes = {tensor.name: tensor.stored_shape for tensor in hf_layout(params)}
    rows_of_ids = {name: (num_ids, *shapes[name][1:]) for name in (EMBEDDING, HEAD) if name in shapes}
    return shapes | rows_of_ids


def weight_buckets(params: Params, num_ids: int, *, dtype: str, bucket_bytes: int) -> Iterator[Bucket]:
    """Every tensor once, in buckets of at most ``bucket_bytes``; a larger tensor is a bucket of its own.

    Embedding and head are sent without their padding rows, so that the engine cannot sample padding ids.

    Args:
        params: parameters of a decoder, on any mesh whose devices this process reaches.
        num_ids: number of ids that can be sampled, ``ModelConfig.num_ids``.
        dtype: dtype to cast to, on the devices: "float32" or "bfloat16".
        bucket_bytes: size of a bucket of cast tensors.

    Returns:
        Buckets in the order of the parameters, each gathered on demand.

    Example:
        >>> from flax import nnx
        >>> from ntl_jax.models import Decoder, ModelConfig
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> decoder = Decoder(ModelConfig(vocab_size=32, num_layers=1, **sizes), rngs=nnx.Rngs(0))
        >>> buckets = weight_buckets(nnx.state(decoder, nnx.Param), 32, dtype="bfloat16", bucket_bytes=2048)
        >>> [sum(array.nbytes for array in bucket.values()) for bucket in buckets]
        [1840, 1872, 2048, 32]
    """
    tensors, leaves = hf_layout(params), jax.tree.leaves(params)
    shapes, itemsize = sent_shapes(params, num_ids), jax.numpy.dtype(dtype).itemsize

    def gathered(first: int, last: int) -> Bucket:
        arrays = jax.device_get([tensor.of(leaves).astype(dtype) for tensor in tensors[first:last]])
        stored = {t.name: t.to_theirs(array) for t, array in zip(tensors[first:last], arrays, strict=True)}
        return {name: array[: shapes[name][0]] for name, array in stored.items()}

    first, size = 0, 0
    for index, tensor in enumerate(tensors):
        num_bytes = math.prod(tensor.our_shape) * itemsize
        if size and size + num_bytes > bucket_bytes:
            yield gathered(first, index)
            first, size = index, 0
        size += num_bytes
    yield gathered(first, len(tensors))


def write_bucket(bucket: Bucket, path: pathlib.Path) -> None:
    """Writes a bucket for another process."""
    write_tensors(path, bucket)


def read_bucket(path: pathlib.Path) -> Bucket:
    """Reads the bucket in a file.

    Raises:
        ValueError: if the file is damaged.
    """
    return read_tensors(path)
