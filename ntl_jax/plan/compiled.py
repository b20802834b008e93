# SPDX-License-Identifier: Apache-2.0
"""Compiles a run's programs on a machine without its devices, and reads what the compiler says of them.

For TPUs, libtpu compiles for the topology itself. For GPUs there is no such compiler without a GPU: XLA's for CPU
compiles for as many CPU devices, which shows what is sharded and gathered, but computes bfloat16 in float32.
"""

import importlib.util
import os
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from ntl_jax.models import make_mesh
from ntl_jax.plan.chips import Topology
from ntl_jax.plan.planned import Planned
from ntl_jax.plan.programs import DEFAULT, PROGRAMS, SAMPLING, programs_of

PACKAGE = "libtpu"
INSTALL = "pip install 'ntl_jax[tpu]'"
ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # by several processes: none of them takes a TPU
    # libtpu complains if it does not know which TPU it runs on; the topology that it compiles for is another matter.
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
EXHAUSTED = re.compile(r"RESOURCE_EXHAUSTED|[Rr]an out of memory")


class Compiled(NamedTuple):
    """What the compiler says of a program.

    Args:
        name: of the program.
        seconds: of lowering and compiling.
        bytes: arguments, results that are no arguments, and temporary arrays, on one device; None: it is refused.
        flops: on one device, with the body of each loop counted once; None: as for bytes.
        refusal: that it does not fit or compile, and why; empty: it does.
    """

    name: str
    seconds: float
    bytes: int | None
    flops: float | None
    refusal: str = ""


def choose_programs(option: str | None, planned: Planned) -> list[str]:
    """The programs to compile, from the option --programs.

    Args:
        option: names separated by commas, ``all``, ``none``, or None: train and decode, if they can be compiled here.
        planned: the run.

    Raises:
        ValueError: for an unknown program, one that the run does not have, and a compiler that is not installed.

    Example:
        >>> from ntl_jax.config import ModelSection, RunConfig
        >>> from ntl_jax.plan.chips import read_topology
        >>> from ntl_jax.plan.planned import plan_run
        >>> config = RunConfig(model=ModelSection(path="Qwen/Qwen2.5-0.5B", mesh=(1, -1, 1)))
        >>> choose_programs("none", plan_run(config, read_topology("v5e:4x4")))
        []
    """
    has, chip = programs_of(planned), planned.topology.chip
    can = chip.platform != "tpu" or importlib.util.find_spec(PACKAGE) is not None
    if option is None:
        return [name for name in DEFAULT if name in has and can]
    if option == "none":
        return []
    names = has if option == "all" else option.split(",")
    if unknown := [name for name in names if name not in PROGRAMS]:
        allowed = f"all, none, or some of {', '.join(PROGRAMS)}, separated by commas"
        raise ValueError(f"--programs={option}: there is no program {unknown[0]!r}: must be {allowed}")
    if missing := [name for name in names if name not in has]:
        raise ValueError(f"--programs={option}: this run has no program {missing[0]!r}; it has {', '.join(has)}")
    if not can:
        raise ValueError(
            f"--programs={option}: compiling for {planned.topology.name} needs the package {PACKAGE}, which is not "
            f"installed: {INSTALL}, or set --programs=none"
        )
    return list(dict.fromkeys(names))


def mesh_of(planned: Planned, name: str) -> Mesh:
    """A mesh of the devices of a program, which are not there, or for GPUs of as many CPU devices.

    A program that samples has the devices of one process.

    Args:
        planned: the run.
        name: a key of `PROGRAMS`.

    Raises:
        ValueError: for a topology that the compiler does not know, and too few CPU devices.

    Example: see `compile_programs`.
    """
    samples = name in SAMPLING
    topology = planned.topology.host if samples else planned.topology
    data, fsdp, tensor = (planned.sampling_mesh if samples else planned.mesh).shape.values()
    if topology.chip.platform == "tpu":
        return make_mesh((data, fsdp, tensor), _tpu_devices(topology))
    devices = jax.devices("cpu")
    if len(devices) < topology.num_devices:
        raise ValueError(
            f"--topology={topology.text}: JAX has {len(devices)} CPU devices in this process, which stand for "
            f"{topology.num_devices}: set --programs=none"
        )
    return make_mesh((data, fsdp, tensor), devices)


def compile_programs(names: Sequence[str], planned: Planned) -> Iterator[Compiled]:
    """Compiles programs, two at a time, since a compiler keeps one core busy; yields them in order.

    Args:
        names: keys of `PROGRAMS`.
        planned: the run.

    Raises:
        ValueError: as in `mesh_of`.

    Example: see `compile_program`.
    """
    meshes = {name: mesh_of(planned, name) for name in names}
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        # A cache of programs keeps those for TPUs that are not there, and cannot read them again.
        warnings.filterwarnings("ignore", "Error reading persistent compilation cache")
        yield from pool.map(lambda name: compile_program(name, planned, meshes[name]), names)


def compile_program(name: str, planned: Planned, mesh: Mesh) -> Compiled:
    """Compiles a program and reads its memory and arithmetic.

    Args:
        name: a key of `PROGRAMS`.
        planned: the run.
        mesh: from `mesh_of`.

    Example:
        >>> import dataclasses
        >>> from ntl_jax.config import ModelSection, RolloutSection, RunConfig
        >>> from ntl_jax.plan.chips import read_topology
        >>> from ntl_jax.plan.planned import plan_run
        >>> sizes = {"num_layers": 1, "width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> rollout = RolloutSection(prompts_per_step=1, num_samples=2, max_tokens=8)
        >>> planned = plan_run(RunConfig(model=ModelSection(**sizes), rollout=rollout), read_topology("h100:1"))
        >>> compile_program("prefill", planned, mesh_of(planned, "prefill")).refusal
        ''
    """
    start = time.monotonic()
    try:
        program = PROGRAMS[name](planned, mesh).compile()
    except jax.errors.JaxRuntimeError as error:
        return Compiled(name, time.monotonic() - start, None, None, _refusal(str(error)))
    seconds, memory = time.monotonic() - start, program.memory_analysis()
    assert memory is not None
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    total = memory.argument_size_in_bytes + memory.temp_size_in_bytes + results
    flops = (program.cost_analysis() or {}).get("flops")
    return Compiled(name, seconds, total, flops)


def _tpu_devices(topology: Topology) -> Sequence[object]:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=topology.text).devices
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"--topology={topology.text}: libtpu has no such topology: {text:.300}") from error


def _refusal(message: str) -> str:
    """Why a compiler refuses a program, from its message."""
    found = re.search(r"(Used [\d.]+\w? of [\d.]+\w? hbm[^\n]*)", message)
    what = "does not fit" if EXHAUSTED.search(message) else "does not compile"
    return f"{what}: {found[1].strip() if found else ' '.join(message.split())[:200]}"
