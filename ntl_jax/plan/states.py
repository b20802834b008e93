# SPDX-License-Identifier: Apache-2.0
"""What a run holds on its devices between programs: shapes and placement from the code that trains, without arrays."""

import dataclasses
import functools
import math
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import PyTree

from ntl_jax.config import AlgorithmSection, RunConfig, TrainerSection
from ntl_jax.models import ModelConfig, abstract_decoder, num_row_shards, shardings
from ntl_jax.models.critic import critic_shapes
from ntl_jax.models.sharding import AnyMesh
from ntl_jax.plan.planned import Planned
from ntl_jax.records import Params
from ntl_jax.rollout.jax.cache import CacheShape
from ntl_jax.rollout.jax.decode import Geometry
from ntl_jax.rollout.jax.round import Setup, cache_shapes, geometry_of
from ntl_jax.rollout.sampling import training_sampling
from ntl_jax.train.stages.policy_optimization import learners_of
from ntl_jax.update.average import first_average
from ntl_jax.update.state import ModelState, TrainState
from ntl_jax.update.step import Learner


def policy_shapes(planned: Planned) -> tuple[nnx.GraphDef, Params]:
    """The policy's graph definition, and the shapes of its parameters."""
    return abstract_decoder(planned.model)


def critic_of(planned: Planned) -> tuple[nnx.GraphDef, Params] | None:
    """The critic's graph definition and the shapes of its own parameters; None: the baseline is no critic."""
    algorithm = planned.config.algorithm
    if algorithm.advantage != "gae":
        return None
    return critic_shapes(planned.model, own=algorithm.critic == "own")


def train_state(planned: Planned) -> tuple[TrainState, dict[str, Learner]]:
    """The shapes of the state that an update changes, and the learners that change it."""
    of_shapes = dataclasses.replace(planned.model, attention="auto", compute_dtype="float32", remat="none", source=None)
    return _train_state(of_shapes, planned.config.algorithm, planned.config.trainer.steps)


@functools.lru_cache(maxsize=64)  # remedies are tried by the dozen
def _train_state(model: ModelConfig, algorithm: AlgorithmSection, steps: int) -> tuple[TrainState, dict[str, Learner]]:
    params = {"policy": abstract_decoder(model)[1]}
    if algorithm.advantage == "gae":
        params["critic"] = critic_shapes(model, own=algorithm.critic == "own")[1]
    learners = learners_of(RunConfig(algorithm=algorithm, trainer=TrainerSection(steps=steps)), params)
    models = {
        name: ModelState(
            params[name],
            jax.eval_shape(learner.optimizer.init, params[name]),
            jax.eval_shape(first_average, params[name]) if learner.ema_decay > 0 else None,
        )
        for name, learner in learners.items()
    }
    return TrainState(cast(jax.Array, jax.ShapeDtypeStruct((), jnp.int32)), models), learners


def placed(tree: PyTree, mesh: AnyMesh) -> PyTree[jax.ShapeDtypeStruct]:
    """Shapes of parameters, or of anything with an entry for each parameter, with their place on a mesh."""

    def place(x: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map(place, tree, shardings(tree, mesh))


def device_bytes(tree: PyTree[jax.ShapeDtypeStruct]) -> int:
    """Bytes of a tree of placed shapes on one device."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)


def engine_setup(planned: Planned, mesh: AnyMesh) -> Setup:
    """What the rounds of the JAX engine share."""
    rollout, graph = planned.config.rollout, policy_shapes(planned)[0]
    return Setup(
        model=planned.model,
        graph=graph,
        by_layer=graph,  # whoever decodes replaces it: no size depends on it, and many layers take long to trace
        table=planned.digits,
        mesh=cast(Mesh, mesh),
        slots=planned.slots,
        tile_slots=None,
        max_prompt_tokens=planned.config.data.max_prompt_tokens,
        decode_text=None,
        num_prompts=rollout.prompts_per_step if rollout.slots else None,
    )


def engine_geometry(planned: Planned, mesh: AnyMesh) -> Geometry:
    """What the programs of sampling are compiled for."""
    rollout, ntl = planned.config.rollout, planned.config.ntl
    sampling = training_sampling(rollout, capture_digits=ntl.enabled and ntl.extract_during_generation)
    num_requests = math.ceil(rollout.prompts_per_step / planned.num_processes)
    return geometry_of(engine_setup(planned, mesh), sampling, num_requests)


def caches(planned: Planned, mesh: AnyMesh) -> tuple[CacheShape, CacheShape]:
    """The caches of prompts and of responses of the JAX engine."""
    return cache_shapes(engine_setup(planned, mesh), engine_geometry(planned, mesh))


def cache_bytes(planned: Planned) -> int:
    """Bytes of the caches on one device; 0 if the JAX engine does not sample on the training devices."""
    if planned.config.rollout.engine != "jax":
        return 0
    mesh = planned.sampling_mesh
    tensor = mesh.shape["tensor"]
    shards = num_row_shards(mesh) * (tensor if planned.model.num_kv_heads % tensor == 0 else 1)
    return sum(cache.num_bytes for cache in caches(planned, mesh)) // shards


def copy_bytes(planned: Planned) -> int:
    """Bytes on one device of the copy of the weights that a process makes on its devices, to sample or to hand it on.

    0 where one process has all devices, or each device the whole policy already.
    """
    if planned.num_processes == 1 or planned.sizes["fsdp"] * planned.sizes["tensor"] == 1:
        return 0
    return device_bytes(placed(policy_shapes(planned)[1], planned.sampling_mesh))
