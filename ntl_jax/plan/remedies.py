# SPDX-License-Identifier: Apache-2.0
"""Settings with which a run that does not fit would fit, found by trying them in the arithmetic."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ntl_jax.config import RunConfig
from ntl_jax.plan.chips import Topology
from ntl_jax.plan.memory import Memory, plan_memory
from ntl_jax.plan.planned import Planned, plan_run

MOST_TENSOR = 16
FEWEST_TOKENS = 128
LIGHT_OPTIMIZER = "adafactor"

Changes = Mapping[str, Any]
"""New values, by the path of a setting."""


class Remedy(NamedTuple):
    """Settings to change, and the memory that the run then takes."""

    changes: Changes
    memory: Memory


def find_remedies(planned: Planned, memory: Memory) -> list[Remedy]:
    """Single changes with which the run fits, and otherwise as many together as it needs; empty: none was found.

    Args:
        planned: a run.
        memory: what it takes, which is too much.

    Example:
        >>> from ntl_jax.config import ModelSection
        >>> from ntl_jax.plan.chips import read_topology
        >>> config = RunConfig(model=ModelSection(path="Qwen/Qwen2.5-7B", compute_dtype="bfloat16", remat="layer"))
        >>> planned = plan_run(config, read_topology("v5p:4x4x4"))
        >>> find_remedies(planned, plan_memory(planned))[0].changes
        {'model.mesh': (1, 64, 1)}
    """
    single = [found for changes in candidates(planned, memory) if (found := _tried(planned, {}, changes))]
    if fitting := [remedy for remedy in single if remedy.memory.fits]:
        of_setting: dict[tuple[str, ...], Remedy] = {}
        for remedy in fitting:
            of_setting.setdefault(tuple(remedy.changes), remedy)
        return list(of_setting.values())
    together = _together(planned, memory)
    return [together] if together is not None and together.memory.fits else []


def least(planned: Planned, memory: Memory) -> Memory:
    """The memory with every change that lowers it.

    Args:
        planned, memory: as in `find_remedies`.

    Example: see `find_remedies`.
    """
    together = _together(planned, memory)
    return memory if together is None else together.memory


def candidates(planned: Planned, memory: Memory) -> Iterator[Changes]:
    """Changes that lower the memory of a run, the most harmless first.

    Args:
        planned, memory: as in `find_remedies`.

    Example: see `find_remedies`.
    """
    config, model, topology = planned.config, planned.model, planned.topology
    for sizes in meshes(topology, planned.sizes):
        yield {"model.mesh": sizes}
    if model.remat != "layer":
        yield {"model.remat": "layer"}
    tokens = config.trainer.max_tokens_per_micro_batch
    while memory.updating > memory.available and (tokens := tokens // 2) >= FEWEST_TOKENS:
        yield {"trainer.max_tokens_per_micro_batch": tokens}
    rollout = config.rollout
    slots = planned.slots
    while rollout.engine == "jax" and memory.sampling > memory.available and (slots := slots // 2) >= 1:
        yield {"rollout.slots": slots}
    if rollout.engine == "vllm":
        for share in (0.5, 0.4, 0.3, 0.2):
            yield {"rollout.vllm.gpu_memory_utilization": share}
    if model.compute_dtype != "bfloat16":
        yield {"model.compute_dtype": "bfloat16"}
    if rollout.engine == "jax" and planned.num_processes > 1:
        yield {"rollout.engine": "pool"}  # its workers need devices of their own, but what is learned stays the same
    if config.algorithm.optimizer.name != LIGHT_OPTIMIZER:
        yield {"algorithm.optimizer.name": LIGHT_OPTIMIZER}
    if model.param_dtype != "bfloat16":
        yield {"model.param_dtype": "bfloat16"}


def meshes(topology: Topology, sizes: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Other meshes over all devices: parameters over ``fsdp``, and over as few devices of ``tensor`` as possible.

    Args:
        topology: the devices.
        sizes: of the present mesh.

    Example:
        >>> from ntl_jax.plan.chips import read_topology
        >>> meshes(read_topology("v5e:2x2"), {"data": 4, "fsdp": 1, "tensor": 1})
        [(1, 4, 1), (1, 2, 2), (1, 1, 4)]
    """
    number, found, tensor = topology.num_devices, [], 1
    while tensor <= min(number, MOST_TENSOR):
        if number % tensor == 0:
            found.append((1, number // tensor, tensor))
        tensor *= 2
    return [mesh for mesh in found if mesh != tuple(sizes.values())]


def changed_config(config: RunConfig, changes: Changes) -> RunConfig:
    """A configuration with other values of some settings.

    Args:
        config: the configuration.
        changes: new values, by path.

    Example:
        >>> changed_config(RunConfig(), {"model.remat": "layer", "seed": 3}).model.remat
        'layer'
    """
    for path, value in changes.items():
        config = _replaced(config, path.split("."), value)
    return config


def _replaced(section: Any, path: Sequence[str], value: object) -> Any:  # noqa: ANN401
    inner = _replaced(getattr(section, path[0]), path[1:], value) if len(path) > 1 else value
    return dataclasses.replace(section, **{path[0]: inner})


def _tried(planned: Planned, made: Changes, changes: Changes) -> Remedy | None:
    """The run with these changes; None: it cannot be."""
    together = {**made, **changes}
    config = changed_config(planned.config, together)
    try:
        config.validate(planned.config)
        other = plan_run(config, planned.topology, _model(planned, config))
    except ValueError:
        return None
    return Remedy(together, plan_memory(other))


def _model(planned: Planned, config: RunConfig) -> Any:  # noqa: ANN401
    names = ("remat", "compute_dtype", "param_dtype")
    return dataclasses.replace(planned.model, **{name: getattr(config.model, name) for name in names})


def _together(planned: Planned, memory: Memory) -> Remedy | None:
    """Changes one after the other, kept if they lower the peak, until the run fits; then without the needless ones."""
    best: Remedy | None = None
    for changes in candidates(planned, memory):
        found = _tried(planned, best.changes if best else {}, changes)
        if found is not None and found.memory.peak < (best.memory if best else memory).peak:
            best = found
        if best is not None and best.memory.fits:
            break
    if best is None or not best.memory.fits:
        return best
    for name in list(best.changes):
        fewer = {other: value for other, value in best.changes.items() if other != name}
        found = _tried(planned, {}, fewer) if fewer else None
        if found is not None and found.memory.fits:
            best = found
    return best
