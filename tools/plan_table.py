# SPDX-License-Identifier: Apache-2.0
"""Prints the tables of docs/scaling.md: python tools/plan_table.py"""

import dataclasses
import sys
from collections.abc import Iterator

from ntl_jax.config import RunConfig
from ntl_jax.config_files import load_config
from ntl_jax.plan.chips import GIB, read_topology
from ntl_jax.plan.memory import Memory, plan_memory
from ntl_jax.plan.planned import Planned, plan_run
from ntl_jax.plan.remedies import changed_config, find_remedies, least
from ntl_jax.plan.work import plan_work

MODELS = (
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen2.5-1.5B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "meta-llama/Meta-Llama-3-70B-Instruct",
)
TOPOLOGIES = ("v5e:4x4", "v5p:4x4x4", "h100:8")
CONFIGS = (("gsm8k_ntl_v5e16", "v5e:4x4"), ("gsm8k_ntl_8xh100", "h100:8"))


def config_of(model: str) -> RunConfig:
    """The configuration of a row: that of the commands on the page."""
    base = load_config("gsm8k_ntl_qwen05b")
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, path=model, mesh=(1, -1, 1)),
        rollout=dataclasses.replace(base.rollout, engine="jax"),
    )


def seconds(planned: Planned) -> float:
    """The least time of an iteration."""
    chip, dtype = planned.topology.chip, planned.model.compute_dtype
    return sum(max(phase.seconds(chip, dtype).values()) for phase in plan_work(planned))


def cells(model: str, topology: str) -> Iterator[str]:
    """The cells of a row of the first table."""
    yield from (model.partition("/")[2].removesuffix("-Instruct"), topology)
    yield from of_run(config_of(model), topology)


def cells_of_config(name: str, topology: str) -> Iterator[str]:
    """The cells of a row of the second table."""
    yield from (f"`{name}`", topology)
    yield from of_run(load_config(name), topology)


def of_run(config: RunConfig, topology: str) -> Iterator[str]:
    """Memory, time and whether a run fits; where it does not fit as it is, those of the first remedy."""
    planned = plan_run(config, read_topology(topology))
    memory, changes = plan_memory(planned), ""
    if not memory.fits and (remedies := find_remedies(planned, memory)):
        remedy = remedies[0]
        planned = plan_run(changed_config(planned.config, remedy.changes), planned.topology)
        changes = ", ".join(f"`{path}={value}`" for path, value in remedy.changes.items())
        memory = remedy.memory
    yield from of_memory(memory)
    if memory.fits:
        yield from (f"{seconds(planned):.1f} s", f"with {changes}" if changes else "yes")
        return
    yield from ("", f"no: {least(planned, memory).peak / GIB:.1f} GiB at the least")


def of_memory(memory: Memory) -> Iterator[str]:
    """GiB while a run updates and while it samples."""
    yield from (f"{memory.updating / GIB:.1f}", f"{memory.sampling / GIB:.1f}")


def rows() -> list[str]:
    """The rows of both tables."""
    found = [*(cells(model, topology) for topology in TOPOLOGIES for model in MODELS)]
    found += [cells_of_config(*config) for config in CONFIGS]
    return [f"| {' | '.join(row)} |" for row in found]


if __name__ == "__main__":
    sys.stdout.write("\n".join(rows()) + "\n")
