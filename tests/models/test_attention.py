# SPDX-License-Identifier: Apache-2.0
"""Every way of attending gives the numbers of the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

from ntl_jax.models import attention, make_mesh
from ntl_jax.models.attention import causal_attention, causal_mask, choose_attention, row_attention
from ntl_jax.models.sharding import MESH_AXES
from ntl_jax.models.splash import splash_attention


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
def test_long_rows_attended_in_blocks_have_the_values_and_gradients_of_the_whole(monkeypatch, size, segmented):
    qkv, ids = random_rows(size)
    attend = row_attention("xla", ids if segmented else None)

    def value(*qkv):
        return jnp.sum(jnp.sin(attend(*qkv)))

    dense = attend(*qkv), jax.grad(value, (0, 1, 2))(*qkv)
    monkeypatch.setattr(attention, "LONG_ROW", 8)
    blocked = attend(*qkv), jax.grad(value, (0, 1, 2))(*qkv)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), blocked, dense)
    assert f"{size},{size}" not in str(jax.make_jaxpr(value)(*qkv)).replace(" ", "")


def test_padding_alone_in_its_row_gives_finite_values_and_gradients():
    qkv, _ = random_rows(8)
    attend = row_attention("xla", jnp.zeros((2, 8), jnp.int32))
    value, gradients = jax.value_and_grad(lambda *qkv: jnp.sum(attend(*qkv)), (0, 1, 2))(*qkv)
    assert all(np.all(np.isfinite(x)) for x in (value, *gradients))


@pytest.mark.slow
@pytest.mark.parametrize("segmented", [True, False])
def test_the_tpu_kernel_interpreted_has_the_values_and_gradients_of_the_plain_attention(segmented):
    qkv, ids = random_rows(256, num_rows=1, head_dim=128)
    ids = ids if segmented else None
    plain = row_attention("xla", ids)

    def kernel(q, k, v):
        return splash_attention(q, k, v, ids, interpret=True)

    expected, value = (
        (attend(*qkv), jax.grad(lambda *qkv, attend=attend: jnp.sum(jnp.sin(attend(*qkv))), (0, 1, 2))(*qkv))
        for attend in (plain, kernel)
    )
    real = np.ones(256, bool) if ids is None else np.asarray(ids[0] > 0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[:, real], b[:, real], atol=2e-3), value, expected)


def test_rows_that_the_tpu_kernel_cannot_tile_are_refused():
    (q, k, v), ids = random_rows(100)
    with pytest.raises(ValueError, match="multiple of 128 positions, got 100"):
        splash_attention(q, k, v, ids)


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


@pytest.mark.parametrize(("platform", "kernel"), [("cpu", "xla"), ("gpu", "cudnn"), ("tpu", "splash")])
def test_the_kernel_is_that_of_the_devices_of_the_mesh_whatever_the_default_backend(monkeypatch, platform, kernel):
    (q, k, v), ids = random_rows(128, head_dim=16)
    chosen = []
    for name in ("_cudnn", "splash_attention", "_xla"):
        monkeypatch.setattr(attention, name, lambda *_, name=name: chosen.append(name) or q)
    for default in ("cpu", "gpu", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda default=default: default)
        with jax.sharding.use_abstract_mesh(mesh_of(platform)):
            attend = row_attention("auto", ids)
            jax.eval_shape(attend, *(x.astype(jnp.bfloat16) for x in (q, k, v)))
    assert [name.removeprefix("_").removesuffix("_attention") for name in chosen] == [kernel] * 3


def test_a_decoder_on_a_mesh_of_cpus_runs_where_another_backend_is_the_default(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
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
