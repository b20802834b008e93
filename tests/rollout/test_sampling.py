# SPDX-License-Identifier: Apache-2.0
"""Responses are drawn as the settings say, as many at a time as an engine's share of them."""

import pytest

from ntl_jax.config import PoolSection, RolloutSection
from ntl_jax.rollout.sampling import num_slots, training_sampling


@pytest.mark.parametrize(
    ("settings", "processes", "number"),
    [({}, None, 80), ({}, 4, 24), ({"slots": 6}, 4, 6), ({"engine": "pool", "pool": PoolSection(workers=2)}, 4, 40)],
)
def test_an_engine_has_the_slots_of_the_setting_or_of_its_share_of_the_prompts(settings, processes, number):
    assert num_slots(RolloutSection(prompts_per_step=10, num_samples=8, **settings), processes) == number


def test_every_setting_of_sampling_reaches_the_engine():
    settings = {"num_samples": 3, "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1}
    rollout = RolloutSection(prompts_per_step=10, stop_strings=("#",), **settings)
    found = training_sampling(rollout, stop_token_ids=(4,), capture_digits=False)
    assert {name: getattr(found, name) for name in settings} == settings
    assert (found.stop_strings, found.stop_token_ids, found.capture_digits) == (("#",), (4,), False)
