# SPDX-License-Identifier: Apache-2.0
"""Claims about the walk of each device over its own positions; those about the head itself: test_vocab_head.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from ntl_jax.ops.spread import Spread, walk_by_device


def walk(positions, whole):
    """Each position's product with the head, and for each token of the head the sum over positions."""
    (x,), (rows,) = positions, whole
    return x @ rows.T, jnp.broadcast_to(jnp.sum(x, axis=0), rows.shape)


@pytest.mark.parametrize("vocab_size", [16, 6], ids=["V divides", "V does not divide"])
@pytest.mark.parametrize(
    "spread", [Spread(("a", "b"), "c", "b"), Spread(("a", "b"), "c", "a"), Spread(("b",))], ids=str
)
def test_the_sum_over_devices_is_that_of_one_walk_over_all_positions(spread, vocab_size):
    mesh = jax.make_mesh((2, 2, 2), ("a", "b", "c"), axis_types=(AxisType.Auto,) * 3)
    x, rows = np.random.default_rng(0).normal(size=(8, 4)), np.ones((vocab_size, 4), np.float32)
    with jax.set_mesh(mesh):
        found = jax.jit(lambda x, rows: walk_by_device(walk, spread, (x,), (rows,)))(x.astype(np.float32), rows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, walk((x,), (rows,)))
    if spread.width:
        assert found[1].sharding.is_equivalent_to(NamedSharding(mesh, P(spread.vocab, spread.width)), 2)


def test_the_gradient_is_summed_in_float32_and_then_has_the_heads_dtype():
    rows, x = jnp.ones((2, 4), jnp.bfloat16), jnp.full((4, 4), 1 + 2**-7)
    _, gradient = walk_by_device(walk, None, (x,), (rows,))
    assert gradient.dtype == jnp.bfloat16 and gradient[0, 0] == jnp.bfloat16(4 + 2**-5)
