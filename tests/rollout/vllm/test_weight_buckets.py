# SPDX-License-Identifier: Apache-2.0
"""Weights leave a policy whole, cast, in buckets of bounded size, and pass through a file unchanged."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Decoder, hf_tensors, make_mesh, shardings
from ntl_jax.rollout.vllm.weight_buckets import read_bucket, sent_shapes, weight_buckets, write_bucket

KIB = 2**10


def params_of(decoder: Decoder):
    return nnx.state(decoder, nnx.Param)


@pytest.mark.parametrize("mesh_shape", [(1, 1, 1), (2, 2, 2)])
def test_buckets_hold_every_tensor_once_and_no_bucket_of_several_is_too_large(decoder, mesh_shape):
    graph, params = nnx.split(decoder)
    placed = nnx.merge(graph, jax.device_put(params, shardings(params, make_mesh(mesh_shape))))
    buckets = list(weight_buckets(params_of(placed), placed.config.num_ids, dtype="float32", bucket_bytes=8 * KIB))
    names = [name for bucket in buckets for name in bucket]
    assert sorted(names) == sorted(sent_shapes(params_of(decoder), decoder.config.num_ids)) and len(buckets) > 5
    sizes = [sum(array.nbytes for array in bucket.values()) for bucket in buckets]
    assert all(size <= 8 * KIB or len(bucket) == 1 for size, bucket in zip(sizes, buckets, strict=True))
    together = {name: array for bucket in buckets for name, array in bucket.items()}
    for name, array in hf_tensors(decoder):
        np.testing.assert_array_equal(together[name], array)
        assert sent_shapes(params_of(decoder), decoder.config.num_ids)[name] == array.shape


def test_embedding_and_head_are_sent_without_padding_rows(decoder, tmp_path):
    padded = Decoder(dataclasses.replace(decoder.config, num_tokens=33), rngs=nnx.Rngs(0))
    (bucket,) = weight_buckets(params_of(padded), padded.config.num_ids, dtype="float32", bucket_bytes=2**30)
    write_bucket(bucket, tmp_path / "bucket.safetensors")
    read = read_bucket(tmp_path / "bucket.safetensors")
    cut = [name for name, array in hf_tensors(padded) if read[name].shape != array.shape]
    assert cut == ["model.embed_tokens.weight", "lm_head.weight"]
    for name, array in hf_tensors(padded):
        np.testing.assert_array_equal(read[name], array[:33] if name in cut else array)
    assert {name: array.shape for name, array in read.items()} == sent_shapes(params_of(padded), padded.config.num_ids)


def test_a_bucket_is_cast_and_reads_back_from_its_file_as_it_was_written(decoder, tmp_path):
    (bucket,) = weight_buckets(params_of(decoder), decoder.config.num_ids, dtype="bfloat16", bucket_bytes=2**30)
    write_bucket(bucket, tmp_path / "bucket.safetensors")
    read = read_bucket(tmp_path / "bucket.safetensors")
    assert read.keys() == bucket.keys()
    for name, array in hf_tensors(decoder):
        np.testing.assert_array_equal(read[name], array.astype(jax.numpy.bfloat16))
