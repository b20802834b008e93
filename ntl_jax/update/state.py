# SPDX-License-Identifier: Apache-2.0
"""What training changes: parameters, optimizer moments, step. All of it on the mesh from the moment it exists."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from ntl_jax.models import shardings


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ModelState:
    """One model's parameters and optimizer state."""

    params: Any
    opt_state: optax.OptState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The whole of what a step changes. ``step`` counts updates; ``critic`` is None without one."""

    step: Int[Array, ""]
    policy: ModelState
    critic: ModelState | None = None

    @property
    def params(self) -> dict[str, Any]:
        """Parameters by model."""
        models = {"policy": self.policy, "critic": self.critic}
        return {name: model.params for name, model in models.items() if model is not None}


def init_params(create: Callable[[nnx.Rngs], nnx.Module], seed: int, mesh: Mesh) -> tuple[nnx.GraphDef, Any]:
    """A new model, created shard by shard: no device ever holds the whole.

    Args:
        create: from ``nnx.Rngs`` to the module.
        seed: of its parameters.
        mesh: where they lie.

    Returns:
        (graph definition, parameters): ``nnx.merge`` makes the module of them.
    """

    def create_params(key):
        return nnx.split(create(nnx.Rngs(key)), nnx.Param)[1]

    key = jax.random.key(seed)
    graph = nnx.split(nnx.eval_shape(lambda: create(nnx.Rngs(0))), nnx.Param)[0]
    placement = shardings(jax.eval_shape(create_params, key), mesh)
    return graph, jax.jit(create_params, out_shardings=placement)(key)


def init_model_state(params: Any, optimizer: optax.GradientTransformation, mesh: Mesh) -> ModelState:
    """Fresh optimizer moments beside their parameters."""
    placement = shardings(jax.eval_shape(optimizer.init, params), mesh)
    return ModelState(params, jax.jit(optimizer.init, out_shardings=placement)(params))


def init_train_state(policy: ModelState, critic: ModelState | None, mesh: Mesh) -> TrainState:
    """A state at step 0."""
    step = jax.device_put(np.int32(0), NamedSharding(mesh, PartitionSpec()))
    return TrainState(step, policy, critic)
