# SPDX-License-Identifier: Apache-2.0
"""What training changes: parameters, optimizer moments, step. All are created on the mesh."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from ntl_jax.models import shardings
from ntl_jax.processes.arrays import place
from ntl_jax.records import AnyArray, Params
from ntl_jax.update.average import first_average

RUNS_ONCE = {"xla_backend_optimization_level": 1}
"""Compiler options for a program that runs once: on CPU it compiles in half the time, to the same bits."""
Created = TypeVar("Created")
"""A tree of arrays derived from parameters."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ModelState:
    """One model's parameters, its optimizer state and, if kept, the moving average of its parameters."""

    params: Params
    opt_state: optax.OptState
    average: Params | None = None

    @property
    def result(self) -> Params:
        """The trained parameters: the moving average in the parameters' dtypes if kept, else the newest parameters."""
        if self.average is None:
            return self.params
        return jax.tree.map(lambda average, p: average.astype(p.dtype), self.average, self.params)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a step changes: the number of updates, and the models by name, such as policy and critic."""

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
    """A new model, created shard by shard: no device ever holds the whole model.

    Args:
        create: from ``nnx.Rngs`` to the module.
        seed: seed of the parameters.
        mesh: mesh of the parameters.

    Returns:
        (graph definition, parameters): ``nnx.merge`` turns them into the module.
    """

    def create_params(seed: Int[AnyArray, ""]) -> Params:
        return nnx.split(create(nnx.Rngs(jax.random.key(seed))), nnx.Param)[1]

    number = np.uint32(seed)  # made to a key within the program: outside it, that would be two more programs
    graph = nnx.split(nnx.eval_shape(lambda: create(nnx.Rngs(0))), nnx.Param)[0]
    placement = shardings(jax.eval_shape(create_params, number), mesh)
    options = RUNS_ONCE if mesh.devices.flat[0].platform == "cpu" else None
    return graph, jax.jit(create_params, out_shardings=placement, compiler_options=options)(number)


def init_model_state(
    params: Params, optimizer: optax.GradientTransformation, mesh: Mesh, *, with_average: bool = False
) -> ModelState:
    """The parameters with new optimizer moments, and an average if one is kept, sharded alike."""

    def placed(create: Callable[[Params], Created]) -> Created:
        return jax.jit(create, out_shardings=shardings(jax.eval_shape(create, params), mesh))(params)

    return ModelState(params, placed(optimizer.init), placed(first_average) if with_average else None)


def init_train_state(models: Mapping[str, ModelState], mesh: Mesh) -> TrainState:
    """A state at step 0."""
    step = place(np.int32(0), NamedSharding(mesh, PartitionSpec()))
    return TrainState(step, dict(models))
