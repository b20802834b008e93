# SPDX-License-Identifier: Apache-2.0
"""Every kind of memory follows the settings that decide it."""

import pytest

from ntl_jax.config import AlgorithmSection, KLSection, RolloutSection, VllmSection
from ntl_jax.plan.chips import GIB
from ntl_jax.plan.memory import COPY, Memory, Part, plan_memory
from tests.planned import small_run


def parts(**settings) -> dict[str, Part]:
    return {part.kind: part for part in plan_memory(small_run(**settings)).parts}


def test_adam_keeps_two_arrays_of_the_parameters_size():
    found = parts()
    assert found["moments"].updating == pytest.approx(2 * found["parameters"].updating, rel=1e-3)
    assert found["KV cache"].sampling > 0 == found["KV cache"].updating


def test_vllm_takes_its_share_of_the_device_at_all_times_and_has_the_cache_itself():
    vllm = VllmSection(gpu_memory_utilization=0.25)
    found = parts(rollout=RolloutSection(engine="vllm", prompts_per_step=4, vllm=vllm))
    assert found["vLLM's share"] == ("vLLM's share", 20 * GIB, 20 * GIB)
    assert found["KV cache"].sampling == 0


def test_a_reference_and_a_critic_are_counted_where_there_are_any():
    assert {"reference", "critic"}.isdisjoint(parts())
    reference = parts(algorithm=AlgorithmSection(kl=KLSection(weight=0.1)))["reference"]
    assert reference.updating == reference.sampling == parts()["parameters"].updating
    critic = parts(algorithm=AlgorithmSection(advantage="gae"))["critic"]
    assert critic.updating > parts()["parameters"].updating


def test_a_pool_of_several_processes_takes_a_copy_but_no_separate_layers():
    how = {"topology": "v5e:4x4", "model": {"mesh": (1, 16, 1), "scan_layers": "on"}}
    sampled, handed = (
        parts(**how, rollout=RolloutSection(engine=name, prompts_per_step=16)) for name in ("jax", "pool")
    )
    assert handed[COPY] == sampled[COPY] and handed[COPY].sampling > 3 * handed["parameters"].sampling
    assert handed[COPY].updating == 0 == handed["gathered weights"].sampling < sampled["gathered weights"].sampling


def test_the_peak_is_that_of_the_phase_that_takes_most():
    memory = Memory((Part("parameters", 3, 3), Part("activations", 4, 0), Part("KV cache", 0, 9)), 11)
    assert (memory.updating, memory.sampling, memory.peak, memory.fits) == (7, 12, 12, False)
    assert memory.largest.kind == "KV cache"
