# SPDX-License-Identifier: Apache-2.0
"""What would fit is found, fits indeed, and changes no more than it needs."""

import dataclasses
from typing import Any

import pytest

from ntl_jax.config import AlgorithmSection, ModelSection, RolloutSection, RunConfig
from ntl_jax.plan.chips import read_topology
from ntl_jax.plan.memory import plan_memory
from ntl_jax.plan.planned import plan_run
from ntl_jax.plan.remedies import candidates, changed_config, find_remedies, least, meshes


def planned_for(path: str, topology: str, **model: Any):
    section = dataclasses.replace(ModelSection(path=path, compute_dtype="bfloat16", remat="layer"), **model)
    rollout = RolloutSection(prompts_per_step=64, max_tokens=512)
    return plan_run(RunConfig(model=section, rollout=rollout), read_topology(topology))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "topology", "model"),
    [
        ("Qwen/Qwen2.5-7B", "v5e:4x4", {}),
        ("Qwen/Qwen2.5-7B", "h100:8", {}),
        ("Qwen/Qwen2.5-1.5B", "h100:1", {"remat": "none", "compute_dtype": "float32"}),
        ("meta-llama/Meta-Llama-3-70B", "v5p:4x4x4", {}),
    ],
)
def test_a_run_with_the_changes_that_are_named_fits(path, topology, model):
    planned = planned_for(path, topology, **model)
    memory = plan_memory(planned)
    assert not memory.fits
    remedies = find_remedies(planned, memory)
    assert remedies
    config = changed_config(planned.config, remedies[0].changes)
    config.validate(planned.config)
    assert plan_memory(plan_run(config, planned.topology)) == remedies[0].memory
    assert remedies[0].memory.fits


def test_where_copies_of_several_processes_are_too_much_a_pool_is_proposed():
    planned = planned_for("meta-llama/Meta-Llama-3-70B", "v5p:4x4x4", mesh=(1, 64, 1))
    remedies = find_remedies(planned, plan_memory(planned))
    assert {"rollout.engine": "pool"} in [remedy.changes for remedy in remedies]
    one_host = planned_for("Qwen/Qwen2.5-7B", "v5e:2x4")
    assert {"rollout.engine": "pool"} not in list(candidates(one_host, plan_memory(one_host)))


def test_where_nothing_fits_the_least_is_known():
    planned = planned_for("meta-llama/Meta-Llama-3-70B", "v5e:2x2")
    memory = plan_memory(planned)
    assert find_remedies(planned, memory) == []
    assert memory.available < least(planned, memory).peak < memory.peak


def test_what_is_set_already_is_not_proposed():
    planned = planned_for("Qwen/Qwen2.5-0.5B", "h100:8", param_dtype="bfloat16", mesh=(1, 8, 1))
    paths = {path for changes in candidates(planned, plan_memory(planned)) for path in changes}
    assert paths == {"model.mesh", "algorithm.optimizer.name"}
    assert (1, 8, 1) not in meshes(planned.topology, planned.sizes)


def test_a_changed_configuration_keeps_everything_else():
    config = RunConfig(algorithm=AlgorithmSection(minibatches=2))
    changed = changed_config(config, {"algorithm.optimizer.name": "muon"})
    assert changed.algorithm.minibatches == 2 and changed.algorithm.optimizer.name == "muon"
