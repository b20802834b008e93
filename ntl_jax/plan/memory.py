# SPDX-License-Identifier: Apache-2.0
"""Memory of a run on one device, by kind, while it updates and while it samples: the arithmetic of a plan.

Parameters, moments and caches are exact: shapes and placement are those that training allocates. What a program takes
for a while is an estimate (`ntl_jax.update.memory`).
"""

from typing import NamedTuple

import jax.numpy as jnp

from ntl_jax.models import num_row_shards
from ntl_jax.plan.chips import GIB
from ntl_jax.plan.planned import Planned
from ntl_jax.plan.states import cache_bytes, copy_bytes, device_bytes, placed, train_state
from ntl_jax.update.memory import FLOAT32_BYTES, PassSize, layer_params, step_bytes

AHEAD = 8
"""Layers whose weights are gathered before they are needed while a token is decoded, by what libtpu compiles."""
SAMPLED = 4
"""Arrays of logits while a token is drawn."""
COPY = "copy for sampling"
"""The kind of the weights that each of several processes has whole on its devices while responses are sampled."""
VLLM_SHARE = 0.9
"""vLLM's own ``gpu_memory_utilization``."""


class Part(NamedTuple):
    """Memory of one kind on one device.

    Args:
        kind: what it is.
        updating, sampling: bytes, while an update runs and while responses are sampled.
    """

    kind: str
    updating: int
    sampling: int


class Memory(NamedTuple):
    """Memory of a run on one device.

    Args:
        parts: by kind.
        available: bytes that a run can use.
    """

    parts: tuple[Part, ...]
    available: int

    @property
    def updating(self) -> int:
        return sum(part.updating for part in self.parts)

    @property
    def sampling(self) -> int:
        return sum(part.sampling for part in self.parts)

    @property
    def peak(self) -> int:
        return max(self.updating, self.sampling)

    @property
    def fits(self) -> bool:
        return self.peak <= self.available

    @property
    def largest(self) -> Part:
        """The kind that takes most at the peak."""
        return max(self.parts, key=lambda part: part.updating if self.updating >= self.sampling else part.sampling)


def plan_memory(planned: Planned) -> Memory:
    """The memory of a run on one device.

    Args:
        planned: the run.

    Example:
        >>> from ntl_jax.config import ModelSection, RunConfig
        >>> from ntl_jax.plan.chips import read_topology
        >>> from ntl_jax.plan.planned import plan_run
        >>> config = RunConfig(model=ModelSection(path="Qwen/Qwen2.5-0.5B", mesh=(1, -1, 1)))
        >>> memory = plan_memory(plan_run(config, read_topology("v5e:4x4")))
        >>> memory.fits, [part.kind for part in memory.parts][:3]
        (True, ['parameters', 'moments', 'gradients'])
    """
    model, config, chip = planned.model, planned.config, planned.topology.chip
    state, _ = train_state(planned)
    params = {name: device_bytes(placed(params, planned.mesh)) for name, params in state.params.items()}
    moments = sum(device_bytes(placed(m.opt_state, planned.mesh)) for m in state.models.values())
    averages = sum(device_bytes(placed(m.average, planned.mesh)) for m in state.models.values() if m.average)
    num_parts, num_rows = planned.micro_batches
    responses = num_rows * planned.samples_per_row
    size = PassSize(num_rows, planned.row_size, planned.layout.shape.row, responses, planned.response_size)
    step = step_bytes(model, planned.sizes, size, num_parts=num_parts, platform=chip.platform)
    own_critic = "critic" in params and config.algorithm.critic == "own"
    weights, logits = _while_decoding(planned)
    vllm = 0
    if config.rollout.engine == "vllm":
        share = config.rollout.vllm.gpu_memory_utilization or VLLM_SHARE
        vllm = int(share * chip.memory_gib * GIB)
    parts = [
        Part("parameters", params["policy"], params["policy"]),
        Part("moments", moments, moments),
        Part("gradients", step.gradients * (1 + own_critic), 0),
        Part("activations", step.activations, 0),
        Part("gathered weights", step.weights, weights),
        Part("logits", step.logits, logits),
        Part(COPY, 0, copy_bytes(planned)),
        Part("KV cache", 0, cache_bytes(planned)),
        Part("cache as it is read", 0, cache_bytes(planned)),  # libtpu lays it out anew for the loop of a segment
        Part("average", averages, averages),
        Part("critic", params.get("critic", 0), params.get("critic", 0)),
        Part("reference", *[params["policy"] if config.algorithm.kl.weight else 0] * 2),
        Part("vLLM's share", vllm, vllm),
    ]
    always = ("parameters", "moments", "gradients", "activations", "logits", "KV cache")
    kept = tuple(part for part in parts if part.kind in always or part.updating or part.sampling)
    return Memory(kept, chip.usable_bytes)


def _while_decoding(planned: Planned) -> tuple[int, int]:
    """Bytes of weights that are not the parameters themselves, and of logits, while the JAX engine decodes."""
    if planned.config.rollout.engine != "jax":
        return 0, 0
    model, sizes = planned.model, planned.sampling_mesh.shape
    item, param_item = (jnp.dtype(dtype).itemsize for dtype in (model.compute_dtype, model.param_dtype))
    copied = item * (sizes["fsdp"] > 1 or item != param_item)
    separate = model.num_params * param_item // (sizes["fsdp"] * sizes["tensor"]) * model.scan_layers
    of_layers = layer_params(model) * min(model.num_layers, AHEAD) // sizes["tensor"] * copied
    head = 2 * model.vocab_size * model.width // sizes["tensor"] * copied  # gathered, and transposed
    slots = -(-planned.slots // num_row_shards(planned.sampling_mesh))
    logits = SAMPLED * FLOAT32_BYTES * slots * model.vocab_size // sizes["tensor"]
    return separate + of_layers + head, logits
