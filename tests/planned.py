# SPDX-License-Identifier: Apache-2.0
"""Small runs that are planned for GPUs, of which CPU devices take the place."""

import dataclasses
from typing import Any

import jax

from ntl_jax.config import DataSection, ModelSection, RolloutSection, RunConfig, TrainerSection
from ntl_jax.models import make_mesh
from ntl_jax.plan.chips import read_topology
from ntl_jax.plan.planned import Planned, plan_run

SMALL = ModelSection(
    num_layers=2, width=64, num_heads=4, num_kv_heads=2, head_dim=16, feed_forward=128, mesh=(1, -1, 1)
)


def small_run(*, topology: str = "h100:8", model: dict[str, Any] | None = None, **sections: Any) -> Planned:
    """A run of a small policy from scratch.

    Args:
        topology: its devices.
        model: changes to the section ``model``.
        sections: other sections of the configuration.
    """
    defaults = {
        "data": DataSection(max_prompt_tokens=24),
        "rollout": RolloutSection(prompts_per_step=4, num_samples=4, max_tokens=24),
        "trainer": TrainerSection(row_layout="padded"),
    }
    config = RunConfig(model=dataclasses.replace(SMALL, **(model or {})), **defaults | sections)
    return plan_run(config, read_topology(topology))


def mesh_here(planned: Planned) -> jax.sharding.Mesh:
    """A mesh of the run's sizes, over devices of this process."""
    data, fsdp, tensor = planned.sizes.values()
    return make_mesh((data, fsdp, tensor), jax.devices()[: planned.topology.num_devices])
