# SPDX-License-Identifier: Apache-2.0
"""The programs of a run, from the code that trains and samples, to compile ahead of time: shapes instead of arrays."""

import dataclasses
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.stages import Lowered
from jax.typing import DTypeLike

from ntl_jax.models import abstract_decoder, batch_sharding, num_row_shards, shardings
from ntl_jax.models.stacking import unstacked
from ntl_jax.plan.planned import Planned
from ntl_jax.plan.states import caches, critic_of, engine_geometry, placed, policy_shapes, train_state
from ntl_jax.records import Batch, Experience, Params, Rows, SharedRows, Targets, TokenWeights
from ntl_jax.records.experience import Values
from ntl_jax.rollout.jax.cache import Block, Cache, CacheShape
from ntl_jax.rollout.jax.decode import SamplingArrays, Slots, decode
from ntl_jax.rollout.jax.prefill import run_prompts
from ntl_jax.rollout.jax.round import PREFILL_TOKENS_PER_SLOT
from ntl_jax.rollout.jax.sampler.truncation import Truncation
from ntl_jax.rows.passes import predicted_values, sampled_log_probs
from ntl_jax.update.step import make_step
from ntl_jax.update.terms import PPOTerms

Shape = jax.ShapeDtypeStruct


def train(planned: Planned, mesh: Mesh) -> Lowered:
    """An update with rows of full length."""
    state, learners = train_state(planned)
    critic = critic_of(planned)
    graph = None if critic is None else critic[0]
    terms = PPOTerms(planned.config, planned.digits, policy_shapes(planned)[0], graph)
    limit, per_token = planned.config.trainer.max_tokens_per_micro_batch, planned.config.divergence.enabled
    sharding = shardings(state, mesh)
    step = make_step(terms.of_update(), learners, limit, sharding, per_token=per_token)
    return step.lower(placed(state, mesh), _batch(planned, mesh))


def log_probs(planned: Planned, mesh: Mesh) -> Lowered:
    """Old log-probs, or those of the reference policy, of a micro-batch."""
    graph, params = policy_shapes(planned)
    rows, ids = _part(planned, mesh)
    run = jax.jit(sampled_log_probs, static_argnums=0)
    with jax.set_mesh(mesh):
        return run.lower(graph, placed(params, mesh), rows, ids, np.float32(1))


def critic(planned: Planned, mesh: Mesh) -> Lowered:
    """Values of a micro-batch."""
    found = critic_of(planned)
    assert found is not None
    graph, own = found
    terms = PPOTerms(planned.config, planned.digits, policy_shapes(planned)[0], graph)
    params = terms.critic_params({"policy": policy_shapes(planned)[1], "critic": own})
    with jax.set_mesh(mesh):
        return jax.jit(predicted_values, static_argnums=0).lower(graph, placed(params, mesh), _part(planned, mesh)[0])


def decode_segment(planned: Planned, mesh: Mesh) -> Lowered:
    """A page of decode steps that reads the whole cache."""
    geometry = engine_geometry(planned, mesh)
    by_layer = abstract_decoder(dataclasses.replace(planned.model, scan_layers=False))[0]
    decoding = dataclasses.replace(geometry, graph=by_layer)
    params = policy_shapes(planned)[1]
    if planned.model.scan_layers:
        params = _separate(params, planned.model.num_layers)
    prompts, own = (_cache(shape, geometry.sharding) for shape in caches(planned, mesh))
    with jax.set_mesh(mesh):
        return decode.lower(
            decoding,
            len(geometry.prompt_blocks),
            len(geometry.own_blocks),
            placed(params, mesh),
            planned.digits,
            prompts,
            own,
            _slots(geometry.num_slots, geometry.num_places, mesh),
            SamplingArrays(np.float32(1), Truncation(np.float32(1), np.int32(0), np.float32(0)), np.zeros(2, np.int32)),
        )


def prefill_prompts(planned: Planned, mesh: Mesh) -> Lowered:
    """The keys and values of a batch of prompts of full length."""
    geometry, shards = engine_geometry(planned, mesh), num_row_shards(mesh)
    length = sum(geometry.prompt_blocks)
    num_rows = max(1, PREFILL_TOKENS_PER_SLOT * geometry.num_slots // (length * shards)) * shards
    ids = _array((num_rows, length), jnp.int32, mesh)
    with jax.set_mesh(mesh):
        return run_prompts.lower(geometry, placed(policy_shapes(planned)[1], mesh), ids)


PROGRAMS: dict[str, Callable[[Planned, Mesh], Lowered]] = {
    "train": train,
    "decode": decode_segment,
    "prefill": prefill_prompts,
    "log_probs": log_probs,
    "critic": critic,
}
"""By the names of the option --programs."""
SAMPLING = ("decode", "prefill")
"""Those of a process that samples, on its own devices."""
DEFAULT = ("train", "decode")


def programs_of(planned: Planned) -> list[str]:
    """Names of the programs that a run has on the training devices.

    Args:
        planned: the run.

    Example:
        >>> from ntl_jax.config import ModelSection, RunConfig
        >>> from ntl_jax.plan.chips import read_topology
        >>> from ntl_jax.plan.planned import plan_run
        >>> config = RunConfig(model=ModelSection(path="Qwen/Qwen2.5-0.5B", mesh=(1, -1, 1)))
        >>> programs_of(plan_run(config, read_topology("v5e:4x4")))
        ['train', 'decode', 'prefill']
    """
    algorithm = planned.config.algorithm
    samples = planned.config.rollout.engine == "jax"
    has = {
        "decode": samples,
        "prefill": samples,
        "log_probs": algorithm.old_log_probs == "recompute" or algorithm.kl.weight > 0,
        "critic": algorithm.advantage == "gae",
    }
    return [name for name in PROGRAMS if has.get(name, True)]


def _array(shape: tuple[int, ...], dtype: DTypeLike, mesh: Mesh) -> jax.Array:
    """A shape with the place of a batch's array, in the place of that array."""
    return cast(jax.Array, Shape(shape, jnp.dtype(dtype), sharding=batch_sharding(mesh)))


def _batch(planned: Planned, mesh: Mesh) -> Batch[Experience]:
    algorithm, num_samples = planned.config.algorithm, planned.samples_per_update
    numbers = _array((num_samples, planned.response_size), jnp.float32, mesh)
    ids = _array(numbers.shape, jnp.int32, mesh)
    targets = Targets(ids, _array(numbers.shape, bool, mesh), numbers)
    recomputes = algorithm.old_log_probs == "recompute"
    experience = Experience(
        targets,
        numbers,
        numbers,
        correction_weights=numbers if recomputes else None,
        reference_log_probs=numbers if algorithm.kl.weight else None,
        values=Values(numbers, numbers) if algorithm.advantage == "gae" else None,
        rollout_log_probs=numbers if recomputes else None,
    )
    reference = numbers if algorithm.kl.weight and algorithm.kl.place == "loss" else None
    weights = TokenWeights(numbers, numbers, reference)
    return Batch(_rows(planned, mesh, num_samples), experience, weights)


def _rows(planned: Planned, mesh: Mesh, num_samples: int) -> Rows | SharedRows:
    """The rows of some samples, each of full length."""
    together, response = planned.samples_per_row, planned.response_size
    num_rows = num_samples // together
    if planned.layout.kind == "shared":
        return SharedRows(
            prompts=_array((num_rows, planned.row_size - together * response), jnp.int32, mesh),
            prompt_lengths=_array((num_rows,), jnp.int32, mesh),
            responses=_array((num_rows, together, response), jnp.int32, mesh),
            response_lengths=_array((num_rows, together), jnp.int32, mesh),
        )
    tokens = _array((num_rows, planned.row_size), jnp.int32, mesh)
    segments = tokens if planned.layout.kind == "packed" else None
    predictors = _array((num_rows, response), jnp.int32, mesh)
    return Rows(tokens, tokens, segments, predictors)


def _part(planned: Planned, mesh: Mesh) -> tuple[Rows | SharedRows, jax.Array]:
    """The rows of a micro-batch, and the ids of their responses."""
    num_samples = planned.micro_batches[1] * planned.samples_per_row
    return _rows(planned, mesh, num_samples), _array((num_samples, planned.response_size), jnp.int32, mesh)


def _separate(params: Params, num_layers: int) -> Params:
    def slices(x: Shape) -> list[Shape]:
        return [Shape(x.shape[1:], x.dtype)] * num_layers

    return unstacked(params, num_layers, slices)


def _cache(shape: CacheShape, sharding: jax.sharding.NamedSharding) -> Cache:
    x, k, h = shape.num_rows, shape.num_kv_heads, shape.head_dim

    def block(n: int) -> Block:
        sizes = (x, k, h, n), (x, k, n, h)
        keys, values = (cast(jax.Array, Shape(size, shape.dtype, sharding=sharding)) for size in sizes)
        return keys, values

    return tuple(tuple(block(n) for n in shape.sizes) for _ in range(shape.num_layers))


def _slots(num_slots: int, num_places: int, mesh: Mesh) -> Slots:
    ids, seeds = _array((num_slots,), jnp.int32, mesh), _array((num_slots,), jnp.uint32, mesh)
    bounds = _array((num_slots, num_places), jnp.int32, mesh)
    return Slots(ids, ids, ids, ids, seeds, seeds, ids, bounds)
