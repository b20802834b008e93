# SPDX-License-Identifier: Apache-2.0
"""Passes in parts: every row once, whatever the parts and shards."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import make_mesh
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import RowPass


@pytest.mark.parametrize(("num_shards", "rows_at_once", "shape"), [(1, 3, (3, 8)), (2, 4, (4, 8)), (4, 1, (4, 8))])
def test_rows_whose_number_is_prime_go_through_in_few_parts_of_one_shape(num_shards, rows_at_once, shape):
    prompts = [np.full(2, row) for row in range(7)]
    batch = pad_rows(prompts, prompts, RowShape(8, 8), number_targets=[np.full(2, np.nan)] * 7)
    traced = []

    def first_token(graph, params, rows, factor):
        traced.append(rows.tokens.shape)
        return rows.tokens[:, 0] * factor

    run = RowPass(first_token, make_mesh((num_shards, 1, 1)), max_tokens=8 * rows_at_once)
    found = run(nnx.graphdef(nnx.Module()), {}, batch, jnp.int32(2))
    assert found.tolist() == [0, 2, 4, 6, 8, 10, 12] and traced == [shape]
