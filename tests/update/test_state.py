# SPDX-License-Identifier: Apache-2.0
"""The state of training: models by name, each with its moments and its average, on the mesh and in checkpoints."""

import contextlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ntl_jax.models import make_mesh, shardings
from ntl_jax.train.checkpoints.checkpointer import Checkpointer
from ntl_jax.update.state import init_model_state, init_params, init_train_state


class Up(nnx.Module):
    """A module with one random parameter."""

    def __init__(self, rngs: nnx.Rngs):
        self.up = nnx.Param(jax.random.normal(rngs.params(), (4, 4)))


@pytest.fixture(scope="module")
def state():
    """Three models on four devices, of which the adapter alone keeps an average."""
    mesh, optimizer = make_mesh((1, 2, 2)), optax.adam(1e-3)
    params = {
        name: {"up": np.full((4, 4), value, np.float32), "scale": np.ones(4, np.float32)}
        for value, name in enumerate(("policy", "critic", "adapter"), start=1)
    }
    params = jax.device_put(params, shardings(params, mesh))
    models = {name: init_model_state(x, optimizer, mesh, with_average=name == "adapter") for name, x in params.items()}
    return init_train_state(models, mesh)


def test_models_go_by_any_name_and_the_state_begins_at_step_0(state):
    assert state.step == 0 and state.models.keys() == {"policy", "critic", "adapter"}
    assert state.params.keys() == state.models.keys() and state.policy is state.models["policy"]
    assert [name for name, model in state.models.items() if model.average is not None] == ["adapter"]
    chex.assert_trees_all_equal(state.models["adapter"].result, state.models["adapter"].params)


def test_moments_and_averages_lie_where_their_parameters_lie(state):
    mesh = make_mesh((1, 2, 2))
    assert jax.tree.map(lambda x: x.sharding, state) == shardings(state, mesh)
    adapter = state.models["adapter"]
    chex.assert_trees_all_equal(*(jax.tree.map(lambda x: x.sharding.spec, x) for x in (
        adapter.params, adapter.average)))  # fmt: skip
    assert not adapter.opt_state[0].mu["up"].sharding.is_fully_replicated


def test_an_average_is_float32_whatever_the_parameters_are():
    mesh, params = make_mesh((1, 1, 1)), {"up": jnp.ones((2, 2), jnp.bfloat16)}
    model = init_model_state(params, optax.sgd(1.0), mesh, with_average=True)
    assert model.average is not None
    assert (model.average["up"].dtype, model.result["up"].dtype) == (jnp.float32, jnp.bfloat16)


@pytest.mark.parametrize("with_average", [False, True])
def test_a_parameter_that_the_table_does_not_have_is_refused(with_average):
    router, mesh = {"router": jnp.ones((4, 4))}, make_mesh((1, 1, 1))
    with pytest.raises(ValueError, match="unknown parameter 'router'; add a row for it"):
        init_model_state(router, optax.adam(1e-3), mesh, with_average=with_average)


def test_parameters_depend_on_the_seed_and_the_graph_makes_a_module_of_them():
    mesh = make_mesh((1, 1, 1))
    (graph, params), (_, again), (_, other) = (init_params(Up, seed, mesh) for seed in (0, 0, 1))
    chex.assert_trees_all_equal_shapes_and_dtypes(params, other)
    chex.assert_trees_all_equal(again, params)
    assert np.any(np.asarray(params["up"][...]) != np.asarray(other["up"][...]))
    chex.assert_trees_all_equal(nnx.state(nnx.merge(graph, params), nnx.Param), params)


def test_a_checkpoint_holds_every_model_with_moments_and_average_bit_for_bit(state, tmp_path):
    empty = jax.tree.map(jnp.zeros_like, state)
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(1, state, {}, {}, {})
        restored = checkpoints.restore(empty)[1]
    chex.assert_trees_all_equal(restored, state)
    assert jax.tree.map(lambda x: x.sharding, restored) == jax.tree.map(lambda x: x.sharding, state)
