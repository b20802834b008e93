# SPDX-License-Identifier: Apache-2.0
"""Weights leave a policy whole, cast, in buckets of bounded size, and pass through a file unchanged."""

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import hf_tensors, make_mesh, shardings
from ntl_jax.rollout.weight_buckets import read_bucket, stored_shapes, weight_buckets, write_bucket

KIB = 2**10


@pytest.mark.parametrize("mesh_shape", [(1, 1, 1), (2, 2, 2)])
def test_buckets_hold_every_tensor_once_and_no_bucket_of_several_is_too_large(decoder, mesh_shape):
    graph, params = nnx.split(decoder)
    placed = nnx.merge(graph, jax.device_put(params, shardings(params, make_mesh(mesh_shape))))
    buckets = list(weight_buckets(placed, dtype="float32", bucket_bytes=8 * KIB))
    names = [name for bucket in buckets for name in bucket]
    assert sorted(names) == sorted(stored_shapes(decoder)) and len(buckets) > 5
    sizes = [sum(array.nbytes for array in bucket.values()) for bucket in buckets]
    assert all(size <= 8 * KIB or len(bucket) == 1 for size, bucket in zip(sizes, buckets, strict=True))
    together = {name: array for bucket in buckets for name, array in bucket.items()}
    for name, array in hf_tensors(decoder):
        np.testing.assert_array_equal(together[name], array)
        assert stored_shapes(decoder)[name] == array.shape


def test_a_bucket_is_cast_and_reads_back_from_its_file_as_it_was_written(decoder, tmp_path):
    (bucket,) = weight_buckets(decoder, dtype="bfloat16", bucket_bytes=2**30)
    write_bucket(bucket, tmp_path / "bucket.safetensors")
    read = read_bucket(tmp_path / "bucket.safetensors")
    assert read.keys() == bucket.keys()
    for name, array in hf_tensors(decoder):
        np.testing.assert_array_equal(read[name], array.astype(jax.numpy.bfloat16))
