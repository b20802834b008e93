# SPDX-License-Identifier: Apache-2.0
"""Arithmetic and traffic are those of a count by hand, and follow the mesh and the settings."""

import pytest

from ntl_jax.config import AlgorithmSection, KLSection, RolloutSection
from ntl_jax.plan.work import Phase, plan_work
from ntl_jax.update.memory import layer_params
from tests.planned import small_run


def phases(**settings) -> dict[str, Phase]:
    return {phase.name: phase for phase in plan_work(small_run(**settings))}


def test_an_update_computes_three_passes_over_all_positions():
    model, found = small_run().model, phases(topology="h100:1")["update"]
    positions, responses = 16 * 48, 16 * 24
    layers = 2 * (2 * layer_params(model) + 4 * model.num_heads * model.head_dim * 24)
    head = 2 * model.vocab_size * model.width
    assert found.flops == pytest.approx(3 * (positions * layers + responses * head))
    assert found.link_bytes == 0


def test_recomputing_layers_takes_a_pass_more():
    plain, recomputed = phases()["update"], phases(model={"remat": "layer"})["update"]
    assert 1.2 < recomputed.flops / plain.flops < 4 / 3 and recomputed.link_bytes > plain.link_bytes


def test_devices_share_the_arithmetic_and_exchange_more():
    one, eight = phases(topology="h100:1")["update"], phases()["update"]
    assert eight.flops == pytest.approx(one.flops / 8) and eight.link_bytes > one.link_bytes == 0


def test_passes_before_an_update_are_counted_where_there_are_any():
    assert list(phases()) == ["sampling", "update"]
    algorithm = AlgorithmSection(advantage="gae", old_log_probs="recompute", kl=KLSection(weight=0.1))
    found = phases(algorithm=algorithm)
    assert list(found) == ["sampling", "log-probs", "critic's values", "update"]
    assert found["log-probs"].flops > 2 * found["critic's values"].flops


def test_a_pool_samples_elsewhere_and_fewer_slots_take_more_steps():
    assert "sampling" not in phases(rollout=RolloutSection(engine="pool", prompts_per_step=4))
    rollouts = [RolloutSection(prompts_per_step=16, num_samples=4, max_tokens=24, slots=slots) for slots in (None, 16)]
    all_slots, few = (phases(rollout=rollout)["sampling"] for rollout in rollouts)
    assert few.link_bytes > 3 * all_slots.link_bytes and few.flops == pytest.approx(all_slots.flops, rel=0.01)
