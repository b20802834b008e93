# SPDX-License-Identifier: Apache-2.0
"""Where parameters lie."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from ntl_jax.models import Decoder, ModelConfig, make_mesh, shardings
from ntl_jax.models.sharding import PARAMETER_AXES
from ntl_jax.train.state import init_params

CONFIG = ModelConfig(vocab_size=64, num_layers=1, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)


def params_of(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    return nnx.split(nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0))), nnx.Param)[1]


def test_every_parameter_has_a_row_in_the_table():
    names = {path[-2].key for path, _ in jax.tree.leaves_with_path(params_of(tie_embeddings=False))}
    assert names < PARAMETER_AXES.keys()


def test_optimizer_moments_lie_where_their_parameters_lie():
    params, mesh = params_of(), make_mesh((2, 2, 2))
    placed = shardings(jax.eval_shape(optax.adamw(1e-3).init, params), mesh)[0]
    assert placed.count.spec == P()
    assert jax.tree.leaves(placed.mu) == jax.tree.leaves(shardings(params, mesh))


def test_sizes_that_do_not_divide_are_all_reported_with_parameter_axis_and_sizes():
    with pytest.raises(ValueError) as error:
        shardings(params_of(width=36, feed_forward=60), make_mesh((1, 8, 1)))
    assert "['embedding'].value: axis 1 of size 36 over fsdp=8" in str(error.value)
    assert "['gate'].value: axis 0 of size 36 over fsdp=8" in str(error.value)


def test_few_key_value_heads_are_replicated_over_tensor_shards_and_nothing_else_is():
    mesh = make_mesh((1, 1, 4))
    specs = {p[-2].key: s.spec for p, s in jax.tree.leaves_with_path(shardings(params_of(), mesh))}
    assert specs["key"] == P("fsdp", None, None)
    assert specs["query"] == P("fsdp", "tensor", None)
    with pytest.raises(ValueError, match=r"\['query'\].value: axis 1 of size 2 over tensor=4"):
        shardings(params_of(num_heads=2), mesh)


@pytest.mark.parametrize(("shape", "sizes"), [((-1, 1, 1), (8, 1, 1)), ((2, -1, 2), (2, 2, 2)), ((1, 1, 1), (1, 1, 1))])
def test_one_size_may_be_left_open_and_devices_may_stay_idle(shape, sizes):
    assert tuple(make_mesh(shape).shape.values()) == sizes


@pytest.mark.parametrize("shape", [(16, 1, 1), (3, -1, 1)])
def test_a_mesh_that_does_not_fit_the_devices_is_refused(shape):
    with pytest.raises(ValueError, match="does not fit 8 devices"):
        make_mesh(shape)


def test_parameters_are_created_where_they_belong():
    mesh = make_mesh((1, 4, 2))
    _, params = init_params(lambda rngs: Decoder(CONFIG, rngs=rngs), 0, mesh)
    assert jax.tree.map(lambda x: x.sharding, params) == shardings(params, mesh)
    _, alone = init_params(lambda rngs: Decoder(CONFIG, rngs=rngs), 0, make_mesh((1, 1, 1)))
    jax.tree.map(np.testing.assert_array_equal, params, alone)
