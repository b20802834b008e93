# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of stacked layers restores into separate ones, and the other way round."""

import contextlib

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.config import OptimizerSection
from ntl_jax.models import Decoder, ModelConfig, make_mesh
from ntl_jax.models.stacking import stacked, unstacked
from ntl_jax.train.checkpoints.checkpointer import Checkpointer, restore_policy
from ntl_jax.update.optimizer import make_optimizer
from ntl_jax.update.state import TrainState, init_model_state, init_train_state

MODEL = ModelConfig(32, num_layers=2, width=128, num_heads=2, num_kv_heads=1, head_dim=8, feed_forward=128)


def state_of(params, optimizer) -> TrainState:
    mesh = make_mesh((1, 2, 1), jax.devices()[:2])
    placed = jax.tree.map(lambda x: x.copy(), params)
    return init_train_state({"policy": init_model_state(placed, optimizer, mesh, with_average=True)}, mesh)


def numbered(state: TrainState) -> TrainState:
    """Every array with other values, those of separate and stacked layers alike."""
    params = jax.tree.map(lambda x: x + 1, state.policy.params)
    moments = jax.tree.map(lambda x: x + 2, state.policy.opt_state)
    return TrainState(state.step + 3, {"policy": type(state.policy)(params, moments, params)})


@pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
@pytest.mark.parametrize("stacked_first", [True, False])
def test_parameters_moments_and_average_restore_into_the_other_layout(tmp_path, name, stacked_first):
    optimizer = make_optimizer(OptimizerSection(name=name), total_steps=4)
    params = nnx.state(Decoder(MODEL, rngs=nnx.Rngs(0)), nnx.Param)
    both = [state_of(stacked(params), optimizer), state_of(params, optimizer)]
    saved, like = both if stacked_first else both[::-1]
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(3, numbered(saved), {"cursor": 3}, {}, {})
        step, restored, meta, *_ = checkpoints.restore(like)
    assert (step, int(restored.step), meta) == (3, 3, {"cursor": 3})
    jax.tree.map(np.testing.assert_array_equal, restored, numbered(like))
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.sharding, b.sharding), restored, like)
    policy = restore_policy(tmp_path, like.policy.params)[2]
    jax.tree.map(np.testing.assert_array_equal, policy, numbered(like).policy.params)
    back = unstacked(policy, 2) if not stacked_first else policy
    assert jax.tree.structure(back) == jax.tree.structure(params)
