# SPDX-License-Identifier: Apache-2.0
"""Every way of attending gives the numbers of the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

from ntl_jax.models import make_mesh
from ntl_jax.models.attention import rows as attention
from ntl_jax.models.attention.rows import causal_attention, causal_mask, choose_attention, row_attention
from ntl_jax.models.sharding import MESH_AXES


def random_rows(size: int, *, num_rows: int = 2, num_heads: int = 4, num_kv_heads: int = 2, head_dim: int = 8):
    rng = np.random.default_rng(0)
    shapes = [(num_rows, size, heads, head_dim) for heads in (num_heads, num_kv_heads, num_kv_heads)]
    ids = np.sort(rng.integers(1, 4, (num_rows, size)), axis=1)
    ids[0, -size // 4 :] = 0
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes], jnp.asarray(ids)


def test_grouped_query_attention_is_that_of_jax():
    qkv, ids = random_rows(12)
    mask = causal_mask(ids)
    q, k, v = qkv
    expected = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None])
    np.testing.assert_allclose(causal_attention(q, k, v, mask), expected, atol=2e-6)


@pytest.mark.parametrize("segmented", [True, False])
@pytest.mark.parametrize("size", [24, 21])
def test_long_rows_attended_in_blocks_have_the_values_and_gradients_of_the_whole(size, segmented):
    qkv, ids = random_rows(size)
    values, programs = [], []
    for long_row in (size, 8):
        attend = row_attention("xla", ids if segmented else None, long_row=long_row)

        def value(*qkv, attend=attend):
            return jnp.sum(jnp.sin(attend(*qkv)))

        values.append((attend(*qkv), jax.grad(value, (0, 1, 2))(*qkv)))
        programs.append(str(jax.make_jaxpr(value)(*qkv)).replace(" ", ""))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), *values)
    assert [f"{size},{size}" in program for program in programs] == [True, False]


def test_padding_alone_in_its_row_gives_finite_values_and_gradients():
    qkv, _ = random_rows(8)
    attend = row_attention("xla", jnp.zeros((2, 8), jnp.int32))
    value, gradients = jax.value_and_grad(lambda *qkv: jnp.sum(attend(*qkv)), (0, 1, 2))(*qkv)
    assert all(np.all(np.isfinite(x)) for x in (value, *gradients))


@pytest.mark.parametrize(
    ("platform", "dtype", "size", "expected"),
    [
        ("cpu", jnp.bfloat16, 512, "xla"),
        ("gpu", jnp.bfloat16, 512, "cudnn"),
        ("gpu", jnp.float32, 512, "xla"),
        ("gpu", jnp.bfloat16, 511, "xla"),
        ("tpu", jnp.bfloat16, 512, "splash"),
        ("tpu", jnp.bfloat16, 500, "xla"),
        (None, jnp.bfloat16, 512, "xla"),
    ],
)
def test_auto_takes_the_kernel_of_the_platform_where_it_fits(platform, dtype, size, expected):
    assert choose_attention("auto", (2, size, 14, 64), dtype, platform) == expected
    assert choose_attention("xla", (2, size, 14, 64), dtype, platform) == "xla"


def mesh_of(platform: str) -> AbstractMesh:
    device = AbstractDevice(device_kind=platform, num_cores=None, platform=platform)
    return AbstractMesh((1, 1, 1), MESH_AXES, abstract_device=device)


@pytest.mark.parametrize(
    ("platform", "kernel"), [("cpu", "dot_general"), ("gpu", "dot_product_attention"), ("tpu", "pallas_call")]
)
def test_the_kernel_is_that_of_the_devices_of_the_mesh_whatever_the_default_backend(platform, kernel):
    """The program for a mesh of devices that this process need not have, as JAX traces it."""
    qkv, ids = random_rows(128, head_dim=16)
    shapes = [jax.ShapeDtypeStruct(x.shape, jnp.bfloat16) for x in qkv]
    with jax.sharding.use_abstract_mesh(mesh_of(platform)):
        try:
            program = jax.make_jaxpr(row_attention("auto", ids))(*shapes)
        except RuntimeError as error:  # where cuDNN is not installed, JAX refuses to trace its kernel, and says so
            assert platform == "gpu" and "cuDNN" in str(error)
            return
    found = {name for name in ("dot_product_attention", "pallas_call") if name in str(program)}
    assert found == {kernel} - {"dot_general"}


def test_a_mesh_of_cpus_and_no_mesh_give_the_plain_attention():
    (q, k, v), ids = random_rows(8)
    expected = row_attention("xla", ids)(q, k, v)
    with jax.set_mesh(make_mesh((1, 1, 1), jax.devices("cpu")[:1])):
        np.testing.assert_array_equal(jax.jit(row_attention("auto", ids))(q, k, v), expected)
    np.testing.assert_array_equal(row_attention("auto", ids)(q, k, v), expected)


def test_key_value_heads_that_do_not_divide_over_shards_are_repeated_for_the_kernels_that_see_one():
    qkv, _ = random_rows(8, num_rows=1, num_heads=4, num_kv_heads=2)
    with jax.set_mesh(make_mesh((1, 1, 4), jax.devices()[:4])):
        q, k, _ = jax.jit(attention._by_device)(*qkv)
    assert k.shape == q.shape and q.sharding.spec[2] == k.sharding.spec[2] == "tensor"
    np.testing.assert_array_equal(k, np.repeat(qkv[1], 2, axis=2))
