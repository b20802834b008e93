# SPDX-License-Identifier: Apache-2.0
"""Claims about the head's gradient: the blocks in which it is added on a CPU add up to the plain product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.ops.head_stats import HEAD_BLOCK, head_gradients


@pytest.mark.parametrize("width", [8, 2 * HEAD_BLOCK, 3 * HEAD_BLOCK - 64, 2 * HEAD_BLOCK + 9])
def test_the_heads_gradient_is_added_to_what_was_there_at_any_width(width):
    keys = jax.random.split(jax.random.key(0), 4)
    hidden, rows = jax.random.normal(keys[0], (6, width)), jax.random.normal(keys[1], (16, width))
    before, d_logits = jax.random.normal(keys[2], (16, width)), jax.random.normal(keys[3], (6, 16))
    d_rows, d_hidden = jax.jit(head_gradients)(before, hidden, rows, d_logits)
    np.testing.assert_allclose(d_rows, before + d_logits.T @ hidden, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(d_hidden, d_logits @ rows, rtol=1e-5, atol=1e-5)
    assert d_rows.dtype == d_hidden.dtype == jnp.float32
