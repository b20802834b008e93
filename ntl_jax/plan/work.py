# SPDX-License-Identifier: Apache-2.0
"""Arithmetic and traffic of an iteration on one device, and the least time that the chip's peaks allow.

Every response counts as long as ``rollout.max_tokens`` and every prompt as ``data.max_prompt_tokens``. Each phase takes
at least the longest of its arithmetic, its traffic to memory and its traffic between chips; links are counted in one
direction, since what is sent is also received.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax.sharding import AbstractMesh

from ntl_jax.models import num_row_shards
from ntl_jax.ops.chunks import num_chunks
from ntl_jax.plan.chips import Chip
from ntl_jax.plan.planned import Planned
from ntl_jax.plan.states import cache_bytes, copy_bytes, device_bytes, placed, train_state
from ntl_jax.rollout.jax.decode import PAGE
from ntl_jax.update.memory import FLOAT32_BYTES, layer_params

FORWARD, BACKWARD = 1, 2
"""Products of a pass, in those of a forward pass."""


class Phase(NamedTuple):
    """A part of an iteration, on one device.

    Args:
        name: of the part.
        flops: floating-point operations of matrix products.
        memory_bytes: read from and written to its memory.
        link_bytes: received from other chips.
    """

    name: str
    flops: float
    memory_bytes: float
    link_bytes: float

    def seconds(self, chip: Chip, dtype: str) -> dict[str, float]:
        """The least time of each kind.

        Args:
            chip: the device.
            dtype: of the products.

        Example:
            >>> from ntl_jax.plan.chips import CHIPS
            >>> Phase("update", 394e12, 819e9, 0).seconds(CHIPS["v5e"], "bfloat16")
            {'arithmetic': 2.0, 'memory': 1.0, 'links': 0.0}
        """
        tflops = chip.bfloat16_tflops if dtype == "bfloat16" else chip.float32_tflops
        return {
            "arithmetic": self.flops / (tflops * 1e12),
            "memory": self.memory_bytes / (chip.memory_gbs * 1e9),
            "links": self.link_bytes / (chip.link_gbs / 2 * 1e9),
        }


def plan_work(planned: Planned) -> list[Phase]:
    """The phases of an iteration.

    Args:
        planned: the run. A pool samples on devices of its own, which are not counted.

    Example:
        >>> from ntl_jax.config import ModelSection, RunConfig
        >>> from ntl_jax.plan.chips import read_topology
        >>> from ntl_jax.plan.planned import plan_run
        >>> config = RunConfig(model=ModelSection(path="Qwen/Qwen2.5-0.5B", mesh=(1, -1, 1)))
        >>> [phase.name for phase in plan_work(plan_run(config, read_topology("v5e:4x4")))]
        ['sampling', 'update']
    """
    algorithm = planned.config.algorithm
    sizes = _Sizes(planned, planned.mesh)
    phases = []
    if planned.config.rollout.engine != "pool":
        phases.append(_sampling(planned, _Sizes(planned, planned.sampling_mesh)))
    passes = (algorithm.old_log_probs == "recompute") + (algorithm.kl.weight > 0)
    if passes:
        phases.append(_forward(planned, sizes, "log-probs", passes, head=True))
    if algorithm.advantage == "gae":
        phases.append(_forward(planned, sizes, "critic's values", 1, head=False))
    return [*phases, _update(planned, sizes)]


class _Sizes:
    """What the phases share: sizes of the model and the mesh, in bytes and operations."""

    def __init__(self, planned: Planned, mesh: AbstractMesh):
        model, self.mesh = planned.model, mesh.shape
        self.item = jnp.dtype(model.compute_dtype).itemsize
        self.tensor, self.shards = self.mesh["tensor"], num_row_shards(mesh)
        self.layers = model.num_layers * layer_params(model) / self.tensor
        self.head = model.vocab_size * model.width / self.tensor
        self.gathered = 1 - 1 / self.mesh["fsdp"]
        """Share of gathered weights that comes from other chips."""
        self.score = 4 * model.num_layers * model.num_heads * model.head_dim / self.tensor
        """Operations of attention for a position and one that it attends to."""
        exchanged = 2 * (1 - 1 / self.tensor) * self.item * model.width * model.num_layers
        self.reduced = 2 * exchanged
        """Bytes over ``tensor`` for a position of a forward pass: two sums in a layer."""

    def layers_flops(self, positions: float, attended: float) -> float:
        return positions * (2 * self.layers + self.score * attended)


def _sampling(planned: Planned, sizes: _Sizes) -> Phase:
    """Prefill of the prompts, then decoding step by step; each step reads all weights and, on average, half the cache.

    vLLM in this process has weights of its own on its devices. Each of several processes samples its part of the
    prompts, and receives a copy of the weights before.
    """
    config = planned.config
    rollout, prompt = config.rollout, config.data.max_prompt_tokens
    num_prompts = math.ceil(rollout.prompts_per_step / planned.num_processes)
    samples = num_prompts * rollout.num_samples
    if rollout.engine == "vllm":
        tensor = rollout.vllm.tensor_parallel_size
        share, shards, fsdp = sizes.tensor / tensor, 1, 0.0
        cache = samples * (prompt / rollout.num_samples + rollout.max_tokens) * _cache_item(planned) / tensor
        slots, rounds = samples, 1
    else:
        share, shards, fsdp = 1.0, sizes.shards, sizes.gathered
        slots = min(samples, planned.slots)
        rounds, cache = math.ceil(samples / slots), cache_bytes(planned)
    steps, per_step = rounds * rollout.max_tokens, slots / shards
    context = prompt + rollout.max_tokens / 2
    prompts = num_prompts * prompt / shards
    decoded = per_step * (2 * share * sizes.head) + share * sizes.layers_flops(per_step, context)
    weights = share * sizes.item * (sizes.layers + sizes.head)
    moved = fsdp * sizes.item * (sizes.layers + sizes.head / PAGE) + share * per_step * sizes.reduced
    return Phase(
        "sampling",
        steps * decoded + share * sizes.layers_flops(prompts, prompt / 2),
        steps * (weights + cache / 2) + weights,
        steps * moved + fsdp * sizes.item * sizes.layers + share * prompts * sizes.reduced + copy_bytes(planned),
    )


def _forward(planned: Planned, sizes: _Sizes, name: str, passes: int, *, head: bool) -> Phase:
    """Passes over all rows of an iteration without a gradient."""
    positions, responses, parts = _rows(planned, sizes)
    chunks = _chunks(planned) * parts * head
    weights, gathered = parts * sizes.layers * sizes.item, sizes.gathered * sizes.item
    return Phase(
        name,
        passes * (sizes.layers_flops(positions, planned.layout.shape.row / 2) + 2 * head * responses * sizes.head),
        passes * (weights + chunks * sizes.head * sizes.item),
        passes * (parts * gathered * (sizes.layers + head * sizes.head) + positions * sizes.reduced),
    )


def _update(planned: Planned, sizes: _Sizes) -> Phase:
    """All updates of an iteration: passes over micro-batches, sums of gradients, and the optimizer."""
    algorithm, model = planned.config.algorithm, planned.model
    positions, responses, parts = (algorithm.epochs * count for count in _rows(planned, sizes))
    recomputed = FORWARD if model.remat == "layer" else 0
    passes, reads = FORWARD + BACKWARD + recomputed, 2 + bool(recomputed)
    own_critic = 2 if algorithm.advantage == "gae" and algorithm.critic == "own" else 1
    flops = own_critic * passes * sizes.layers_flops(positions, planned.layout.shape.row / 2)
    flops += 3 * 2 * responses * sizes.head
    updates = algorithm.epochs * algorithm.minibatches
    state = device_bytes(placed(train_state(planned)[0], planned.mesh))
    walked = parts * _chunks(planned) * sizes.head * 2 * (sizes.item + FLOAT32_BYTES)
    memory = own_critic * parts * reads * sizes.layers * sizes.item + walked + 2 * updates * state
    over_fsdp = own_critic * parts * (reads + 1) * sizes.layers * sizes.item
    over_fsdp += updates * sizes.head * sizes.item + parts * sizes.head * FLOAT32_BYTES
    data, fsdp = sizes.mesh["data"], sizes.mesh["fsdp"]
    over_data = 2 * (1 - 1 / data) * parts / fsdp * (sizes.layers * sizes.item + sizes.head * FLOAT32_BYTES)
    over_tensor = own_critic * positions * sizes.reduced * (reads - bool(recomputed) / 2)
    return Phase("update", flops, memory, sizes.gathered * over_fsdp + over_data + over_tensor)


def _rows(planned: Planned, sizes: _Sizes) -> tuple[float, float, float]:
    """Positions and response tokens of an iteration on a device, and micro-batches."""
    num_parts, num_rows = planned.micro_batches
    parts = num_parts * planned.config.algorithm.minibatches
    positions = parts * num_rows * planned.row_size / sizes.shards
    return positions, parts * num_rows * planned.samples_per_row * planned.response_size / sizes.shards, parts


def _chunks(planned: Planned) -> int:
    """Chunks in which the head walks over the responses of a micro-batch."""
    responses = planned.micro_batches[1] * planned.samples_per_row
    return num_chunks((responses, planned.response_size), planned.model.vocab_size, None)


def _cache_item(planned: Planned) -> int:
    """Bytes of a position's keys and values."""
    model = planned.model
    return 2 * model.num_layers * model.num_kv_heads * model.head_dim * jnp.dtype(model.compute_dtype).itemsize
