# SPDX-License-Identifier: Apache-2.0
"""Continuous batching on the host: every sample runs once, to its end, and slots stay busy."""

import numpy as np
import pytest

from ntl_jax.rollout.jax.decode import PAGE
from ntl_jax.rollout.jax.scheduler import Scheduler, num_places_for


def run(lengths: np.ndarray, num_groups: int, *, together: bool = True) -> tuple[np.ndarray, float, list[int]]:
    """Tokens decoded of each sample, share of slot-steps kept, prompts in the order in which they came in.

    Prompts are added together, or one by one while others decode.
    """
    num_prompts, num_samples = lengths.shape
    places = num_places_for(num_prompts, num_samples, num_groups)
    added = num_prompts if together else 1
    scheduler = Scheduler(num_samples=num_samples, num_groups=num_groups, num_places=places)
    for _ in range(added):
        scheduler.add()
    lengths, done, slot_steps, order = lengths.ravel(), np.zeros(lengths.size, int), 0, []
    while (done < lengths).any():
        for entry in scheduler.admit():
            order.append(entry.prompt)
            assert scheduler.prompt_of_place[entry.place, entry.group] == entry.prompt
        slots = np.flatnonzero(scheduler.sample_of_slot >= 0)
        samples = scheduler.sample_of_slot[slots]
        assert len(np.unique(samples)) == len(samples)
        prompts = scheduler.prompt_of_place[scheduler.place_of_slot[slots], slots // num_samples]
        np.testing.assert_array_equal(prompts, samples // num_samples)  # a sample sits with its own prompt
        steps = np.minimum(PAGE, lengths[samples] - done[samples])
        assert (steps > 0).all()
        done[samples] += steps
        slot_steps += steps.max() * len(scheduler.sample_of_slot)
        finished = np.zeros(len(scheduler.sample_of_slot), bool)
        finished[slots] = done[samples] == lengths[samples]
        for entry in scheduler.release(finished):
            assert (done == lengths).reshape(num_prompts, num_samples)[entry.prompt].all()
        if added < num_prompts:
            added = scheduler.add() + 1
    return done, done.sum() / slot_steps, order


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("num_prompts", "num_samples", "num_groups"), [(1, 1, 4), (3, 8, 8), (30, 4, 2), (50, 1, 8)])
def test_every_sample_is_decoded_to_its_end_exactly_once(num_prompts, num_samples, num_groups, together):
    lengths = np.random.default_rng(0).integers(1, 100, (num_prompts, num_samples))
    done, _, order = run(lengths, num_groups, together=together)
    np.testing.assert_array_equal(done, lengths.ravel())
    assert order == list(range(num_prompts))


@pytest.mark.parametrize("sigma", [0.7, 0.9])
def test_long_tailed_lengths_keep_at_least_seventy_percent_of_the_slot_steps(sigma):
    for seed in range(3):
        draws = np.random.default_rng(seed).lognormal(np.log(64), sigma, (192, 8))
        _, kept, _ = run(np.clip(draws, 8, 512).astype(int), num_groups=8)
        assert kept >= 0.7


def test_a_prompt_of_its_own_group_needs_one_place():
    assert num_places_for(8, 8, num_groups=8) == 1
    assert num_places_for(9, 8, num_groups=8) == 4
    assert num_places_for(100, 1, num_groups=8) == 1
