# SPDX-License-Identifier: Apache-2.0
"""What training changes: parameters, optimizer moments, step. All of it on the mesh from the moment it exists."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PRNGKeyArray

from ntl_jax.models import shardings
from ntl_jax.records import Params
from ntl_jax.update.average import first_average

Created = TypeVar("Created")
"""A tree of arrays that is made of parameters."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ModelState:
    """One model's parameters, the optimizer's state, and the moving average of the parameters where one is kept."""

    params: Params
    opt_state: optax.OptState
    average: Params | None = None

    @property
    def result(self) -> Params:
        """What the model has come to: the average in the parameters' dtypes, or the parameters themselves."""
        if self.average is None:
            return self.params
        return jax.tree.map(lambda average, p: average.astype(p.dtype), self.average, self.params)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The whole of what a step changes: the number of updates, and the models by name, such as policy and critic."""

    step: Int[Array, ""]
    models: dict[str, ModelState]

    @property
    def params(self) -> dict[str, Params]:
        """Parameters by model."""
        return {name: model.params for name, model in self.models.items()}

    @property
    def policy(self) -> ModelState:
        return self.models["policy"]


def init_params(create: Callable[[nnx.Rngs], nnx.Module], seed: int, mesh: Mesh) -> tuple[nnx.GraphDef, Params]:
    """A new model, created shard by shard: no device ever holds the whole.

    Args:
        create: from ``nnx.Rngs`` to the module.
        seed: of its parameters.
        mesh: where they lie.

    Returns:
        (graph definition, parameters): ``nnx.merge`` makes the module of them.
    """

    def create_params(key: PRNGKeyArray) -> Params:
        return nnx.split(create(nnx.Rngs(key)), nnx.Param)[1]

    key = jax.random.key(seed)
    graph = nnx.split(nnx.eval_shape(lambda: create(nnx.Rngs(0))), nnx.Param)[0]
    placement = shardings(jax.eval_shape(create_params, key), mesh)
    return graph, jax.jit(create_params, out_shardings=placement)(key)


def init_model_state(
    params: Params, optimizer: optax.GradientTransformation, mesh: Mesh, *, with_average: bool = False
) -> ModelState:
    """Fresh optimizer moments, and an average if one is to be kept, beside their parameters."""

    def placed(create: Callable[[Params], Created]) -> Created:
        return jax.jit(create, out_shardings=shardings(jax.eval_shape(create, params), mesh))(params)

    return ModelState(params, placed(optimizer.init), placed(first_average) if with_average else None)


def init_train_state(models: Mapping[str, ModelState], mesh: Mesh) -> TrainState:
    """A state at step 0."""
    step = jax.device_put(np.int32(0), NamedSharding(mesh, PartitionSpec()))
    return TrainState(step, dict(models))
