# SPDX-License-Identifier: Apache-2.0
"""The TPU kernel, interpreted: the numbers of the plain attention, and rows that it cannot tile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.models.attention.rows import row_attention
from ntl_jax.models.attention.splash import splash_attention


def random_rows(size: int, *, num_rows: int = 2, num_heads: int = 4, num_kv_heads: int = 2, head_dim: int = 8):
    rng = np.random.default_rng(0)
    shapes = [(num_rows, size, heads, head_dim) for heads in (num_heads, num_kv_heads, num_kv_heads)]
    ids = np.sort(rng.integers(1, 4, (num_rows, size)), axis=1)
    ids[0, -size // 4 :] = 0
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes], jnp.asarray(ids)


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
