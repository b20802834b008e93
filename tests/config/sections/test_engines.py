# SPDX-License-Identifier: Apache-2.0
"""Settings of engines that are written as texts."""

import pytest

from ntl_jax.config import PoolSection, RolloutSection, RunConfig, VllmSection


def problems(rollout: RolloutSection) -> str:
    """What is said of a configuration with this section."""
    with pytest.raises(ValueError) as error:
        RunConfig(rollout=rollout).validate()
    return str(error.value)


def of_pool(**settings) -> RolloutSection:
    return RolloutSection(engine="pool", pool=PoolSection(**settings))


def test_amounts_of_a_clusters_resources_are_numbers_above_zero():
    RunConfig(rollout=of_pool(resources=("rollout_node=1", "memory_gb=0.5"))).validate()
    for wrong in ("rollout_node", "rollout_node=", "=1", "rollout_node=0", "rollout_node=-1", "rollout_node=many"):
        assert "be amounts of the cluster's resources like 'rollout_node=1'" in problems(of_pool(resources=(wrong,)))


def test_engine_arguments_have_a_name_and_a_value():
    for wrong in ("block_size", "block size=32", "=32"):
        rollout = RolloutSection(engine="vllm", vllm=VllmSection(options=(wrong,)))
        assert "be engine arguments of vLLM like 'block_size=32'" in problems(rollout)


def test_an_empty_address_is_none():
    assert "rollout.pool.address" in problems(of_pool(address=""))


def test_no_more_workers_are_needed_than_there_are():
    assert "must not exceed rollout.pool.workers=2" in problems(of_pool(min_workers=3))
