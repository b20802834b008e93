# SPDX-License-Identifier: Apache-2.0
"""What a worker pulls is what the trainer put there, whole, bit for bit; anything else is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ntl_jax.records import Version, Weights
from ntl_jax.rollout.pool.versions import PulledWeightsError, checksum, pull, store
from tests.engines import weights_of
from tests.rollout.pool.object_store import ObjectStore

KIB = 1024


@pytest.fixture
def objects() -> ObjectStore:
    return ObjectStore()


def assert_equal(pulled: Weights, params, dtype: str) -> None:
    """Of the same tree, with the bits of a cast to the dtype."""
    expected = jax.tree.map(lambda x: np.asarray(jnp.asarray(x).astype(dtype)), params)
    assert jax.tree.structure(pulled.params) == jax.tree.structure(params)
    for found, value in zip(*map(jax.tree.leaves, (pulled.params, expected)), strict=True):
        assert found.dtype == value.dtype and found.shape == value.shape
        assert found.tobytes() == value.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bucket_bytes", [1, 8 * KIB, 10**9], ids=["an array each", "some together", "one"])
def test_a_version_comes_back_with_its_tree_and_bits(objects, decoder, dtype, bucket_bytes):
    weights = weights_of(decoder, 7)
    stored = store(weights, dtype, objects.put, bucket_bytes=bucket_bytes)
    pulled = pull(stored, objects.get)
    assert pulled.version == stored.version == Version(7)
    assert_equal(pulled, weights.params, dtype)
    assert all(not x.flags.writeable for x in jax.tree.leaves(pulled.params))


def test_buckets_hold_arrays_up_to_their_size_and_larger_arrays_are_alone(objects, decoder):
    weights = weights_of(decoder)
    sizes = [4 * leaf.size for leaf in jax.tree.leaves(weights.params)]
    stored = store(weights, "float32", objects.put, bucket_bytes=6 * KIB)
    found = [objects.num_bytes(reference) for reference in stored.buckets]
    assert sum(found) == sum(sizes)
    assert 1 < len(found) < len(sizes)
    assert all(size <= 6 * KIB or size in sizes for size in found)
    halves = store(weights, "bfloat16", objects.put).buckets
    assert sum(map(objects.num_bytes, halves)) == sum(sizes) // 2


def test_weights_are_gathered_from_all_devices(objects):
    mesh = jax.make_mesh((4, 2), ("fsdp", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    specs = {"a": PartitionSpec("fsdp", "tensor"), "b": PartitionSpec(None, "tensor"), "c": PartitionSpec()}
    params = {
        name: jax.device_put(np.arange(64, dtype=np.float32).reshape(8, 8) + i, NamedSharding(mesh, spec))
        for i, (name, spec) in enumerate(specs.items())
    }
    for dtype in ("float32", "bfloat16"):
        assert_equal(pull(store(Weights(Version(0), params), dtype, objects.put), objects.get), params, dtype)


def test_once_stored_the_trainers_arrays_may_be_taken(objects, decoder):
    params = jax.tree.map(lambda x: x.copy(), weights_of(decoder).params)
    stored = store(Weights(Version(0), params), "float32", objects.put)
    jax.tree.map(lambda x: x.delete(), params)
    assert_equal(pull(stored, objects.get), weights_of(decoder).params, "float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_flipped_bit_anywhere_is_noticed(objects, decoder, dtype):
    rng = np.random.default_rng(0)
    for _ in range(8):
        stored = store(weights_of(decoder, 3), dtype, objects.put, bucket_bytes=6 * KIB)
        bucket = stored.buckets[rng.integers(len(stored.buckets))]
        objects.flip_bit(bucket, int(rng.integers(objects.num_bytes(bucket))))
        with pytest.raises(PulledWeightsError, match=r"1 of \d+ arrays of Version\(iteration=3.* changed on their way"):
            pull(stored, objects.get)


def test_a_bucket_that_lacks_an_array_is_refused(objects, decoder):
    stored = store(weights_of(decoder), "float32", objects.put, bucket_bytes=6 * KIB)
    with pytest.raises(ValueError):
        pull(stored._replace(buckets=stored.buckets[:-1]), objects.get)


@pytest.mark.parametrize("num_bytes", [0, 2, 510, 512, 514, 4096, 5002])
def test_a_checksum_depends_on_every_byte_and_on_the_order_of_blocks(num_bytes):
    values = np.random.default_rng(0).integers(0, 256, num_bytes, np.uint8).view(np.uint16)
    before = checksum(values)
    for place in range(values.size):
        changed = values.copy()
        changed[place] ^= 1 << place % 16
        assert checksum(changed) != before
    if num_bytes >= 1024:
        moved = values.copy()
        moved[:256], moved[256:512] = values[256:512], values[:256]
        assert checksum(moved) != before


def test_arrays_that_the_host_can_read_are_stored_without_a_copy_and_may_be_donated_afterwards(objects):
    double = jax.jit(lambda x: 2 * x, donate_argnums=0)
    array = double(jax.device_put(jnp.ones((64, 64)), jax.devices()[0])).block_until_ready()
    place = array.unsafe_buffer_pointer()
    seen = []
    stored = store(
        Weights(Version(0), {"a": array}),
        "float32",
        lambda arrays: seen.append(arrays[0].ctypes.data) or objects.put(arrays),
    )
    assert seen == [place]
    assert double(array).unsafe_buffer_pointer() == place
    assert np.all(pull(stored, objects.get).params["a"] == 2)
