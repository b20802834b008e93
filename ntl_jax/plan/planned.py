# SPDX-License-Identifier: Apache-2.0
"""A run as far as its settings and a topology determine it: sizes, mesh and rows, without devices, weights or data."""

import dataclasses
import math

from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from ntl_jax.config import RunConfig
from ntl_jax.models import ModelConfig, num_row_shards
from ntl_jax.models.sharding import MESH_AXES, RULES, mesh_sizes, partition
from ntl_jax.numerals import NumberTable
from ntl_jax.plan.chips import Topology
from ntl_jax.plan.published_sizes import planned_model
from ntl_jax.processes.arrays import local_sizes
from ntl_jax.rollout.engine import check_positions
from ntl_jax.rollout.sampling import num_slots
from ntl_jax.rows.layout import Layout, check_rows, layout_on
from ntl_jax.rows.micro_batches import micro_batches
from ntl_jax.rows.padding import RowShape
from ntl_jax.train.policy import check_attention


@dataclasses.dataclass(frozen=True, eq=False)
class Planned:
    """A run on a topology.

    Args:
        config, topology: what is planned.
        model: the policy's sizes.
        mesh: over the topology's devices, which need not be there.
        layout: of the rows of an update, with prompts and responses of full length.
    """

    config: RunConfig
    topology: Topology
    model: ModelConfig
    mesh: AbstractMesh
    layout: Layout

    @property
    def sizes(self) -> dict[str, int]:
        """Of the mesh, by axis."""
        return dict(self.mesh.shape)

    @property
    def num_processes(self) -> int:
        """One on each host: each samples on its own devices."""
        return self.topology.num_hosts

    @property
    def sampling_mesh(self) -> AbstractMesh:
        """The mesh on which a process samples with the JAX engine."""
        if self.num_processes == 1:
            return self.mesh
        return _mesh(self.topology.host, local_sizes(self.sizes, self.topology.host.num_devices))

    @property
    def slots(self) -> int:
        """Samples in flight in a process that samples with the JAX engine."""
        return num_slots(self.config.rollout, self.num_processes)

    @property
    def samples_per_update(self) -> int:
        """Responses in an update."""
        rollout = self.config.rollout
        return rollout.prompts_per_step * rollout.num_samples // self.config.algorithm.minibatches

    @property
    def samples_per_row(self) -> int:
        """Responses in a row of an update."""
        return self.layout.samples_per_row if self.layout.kind == "shared" else 1

    @property
    def row_size(self) -> int:
        """Padded positions of the longest row of an update."""
        shape = self.layout.shape
        if self.layout.kind != "shared":
            return shape.bucket(shape.row, shape.response)[0]
        prompt, response = shape.shared_bucket(shape.row - shape.response, shape.response)
        return prompt + self.samples_per_row * response

    @property
    def response_size(self) -> int:
        """Padded positions of the longest response."""
        shape = self.layout.shape
        return shape.bucket(shape.row, shape.response)[1]

    @property
    def micro_batches(self) -> tuple[int, int]:
        """Parts of an update, and rows per part."""
        num_rows = self.samples_per_update // self.samples_per_row
        limit = self.config.trainer.max_tokens_per_micro_batch
        return micro_batches(num_rows, self.row_size, limit, num_row_shards(self.mesh))

    @property
    def digits(self) -> NumberTable:
        """A table of ten digits, as most tokenizers have it; which ids they have changes no size."""
        return NumberTable.from_vocab({str(digit): digit for digit in range(10)}, vocab_size=self.model.vocab_size)


def plan_run(config: RunConfig, topology: Topology, model: ModelConfig | None = None) -> Planned:
    """What a run is made of on a topology.

    Args:
        config: of the run, valid.
        topology: its devices.
        model: of the run, if it is known already.

    Raises:
        ValueError: for a mesh, kernel, engine or lengths that cannot work, with the reason.

    Example:
        >>> from ntl_jax.config import ModelSection
        >>> from ntl_jax.plan.chips import read_topology
        >>> config = RunConfig(model=ModelSection(path="Qwen/Qwen2.5-0.5B", mesh=(1, -1, 1)))
        >>> plan_run(config, read_topology("v5e:4x4")).sizes
        {'data': 1, 'fsdp': 16, 'tensor': 1}
    """
    platform = topology.chip.platform
    if not config.trainer.steps:
        raise ValueError("trainer.steps=0: iterations of policy optimization are planned: set it above 0")
    topology = _training_devices(config, topology)
    if platform == "tpu" and config.rollout.engine == "vllm":
        raise ValueError(
            f"rollout.engine='vllm': vLLM samples on the devices of --topology={topology.text} in this process, for "
            "which it needs GPUs: set rollout.engine to jax, or to pool with GPUs elsewhere"
        )
    tensor = config.rollout.vllm.tensor_parallel_size
    if config.rollout.engine == "vllm" and tensor > topology.num_devices:
        raise ValueError(
            f"rollout.vllm.tensor_parallel_size={tensor}: --topology={topology.text} has {topology.num_devices} GPUs: "
            "lower it"
        )
    model = planned_model(config) if model is None else model
    check_attention(model, platform)
    try:
        sizes = mesh_sizes(config.model.mesh, topology.num_devices)
    except ValueError as error:
        raise ValueError(f"model.mesh={config.model.mesh}: {error}") from error
    if unused := topology.num_devices - math.prod(sizes):
        raise ValueError(
            f"model.mesh={config.model.mesh}: {unused} of the {topology.num_devices} devices of --topology="
            f"{topology.text} that train would stay idle: set one size to -1, or plan for fewer devices"
        )
    mesh = _mesh(topology, sizes)
    check_sizes(model, config, dict(mesh.shape))
    check_rows(config, num_row_shards(mesh))
    rollout, longest = config.rollout, config.data.max_prompt_tokens
    names = {"setting": "rollout.max_tokens", "prompt_setting": "data.max_prompt_tokens"}
    check_positions(longest, rollout.max_tokens, model.max_positions, **names)
    shape = RowShape(row=longest + rollout.max_tokens, response=rollout.max_tokens)
    layout = layout_on(config, model, shape, num_row_shards(mesh), platform)
    return Planned(config, topology, model, mesh, layout)


def _mesh(topology: Topology, sizes: tuple[int, int, int]) -> AbstractMesh:
    device = AbstractDevice(device_kind=topology.name, num_cores=None, platform=topology.chip.platform)
    return AbstractMesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * 3, abstract_device=device)


def _training_devices(config: RunConfig, topology: Topology) -> Topology:
    """The devices that train: all, or those that the settings name.

    Raises:
        ValueError: if the topology does not have them, or has several hosts, which train on all.
    """
    if not (chosen := config.trainer.devices):
        return topology
    if topology.num_hosts > 1:
        raise ValueError(
            f"trainer.devices={chosen} numbers the devices of one process, and the {topology.num_hosts} hosts of "
            f"--topology={topology.text} run as many: leave it empty"
        )
    if max(chosen) >= topology.num_devices:
        raise ValueError(
            f"trainer.devices={chosen}: --topology={topology.text} has devices 0 to {topology.num_devices - 1}: change "
            "one of them"
        )
    return topology._replace(num_devices=len(chosen))


def check_sizes(model: ModelConfig, config: RunConfig, sizes: dict[str, int]) -> None:
    """Checks that the model's axes divide over those of the mesh.

    Args:
        model: the policy's sizes.
        config: its ``model.mesh`` is named in the message.
        sizes: of the mesh, by axis.

    Raises:
        ValueError: naming every axis that does not divide, and the sizes of the mesh that it would divide over.

    Example:
        >>> from ntl_jax.config import ModelSection
        >>> model = planned_model(RunConfig(model=ModelSection(path="Qwen/Qwen2.5-0.5B")))
        >>> check_sizes(model, RunConfig(), {"data": 1, "fsdp": 1, "tensor": 4})
        Traceback (most recent call last):
        ...
        ValueError: model.mesh=(-1, 1, 1): 14 heads do not divide over tensor=4: it may be 1, 2
    """
    axes = {
        "vocab": model.vocab_size,
        "width": model.width,
        "heads": model.num_heads,
        "feed_forward": model.feed_forward,
    }
    problems: dict[str, list[str]] = {}
    for axis, size in axes.items():
        if partition((size,), (axis,), sizes)[1]:
            problems.setdefault(str(RULES[axis]), []).append(f"{size:,} {axis.replace('_', '-')}")
    if not problems:
        return
    texts = []
    for over, names in problems.items():
        common = math.gcd(*(size for axis, size in axes.items() if RULES[axis] == over))
        allowed = [n for n in range(1, min(common, 1024) + 1) if common % n == 0]
        texts.append(f"{' and '.join(names)} do not divide over {over}={sizes[over]}: it may be {_listed(allowed)}")
    raise ValueError(f"model.mesh={config.model.mesh}: {'; '.join(texts)}")


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
