# SPDX-License-Identifier: Apache-2.0
"""Which prompts of an iteration are logged, and what is logged of their samples."""

import numpy as np

from ntl_jax.train.journal.step_samples import ActorReadings, StepSamples, logged_groups


def samples_of(scored, *known_rows: int) -> StepSamples:
    """The samples, of which the trainer computed these rows."""
    readings = ActorReadings(*(np.full((len(scored.trajectories), 24), np.nan) for _ in ActorReadings._fields))
    for values in readings:
        values[list(known_rows)] = -1.5
    return StepSamples(scored, np.arange(len(scored.trajectories) * 24.0).reshape(-1, 24), readings)


def test_the_samples_of_a_prompt_are_logged_together(scored):
    samples = samples_of(scored)
    assert samples.groups() == [range(0, 4), range(4, 8)]
    assert samples.logged("all") == samples.logged(2) == samples.logged(99) == samples.groups()
    assert samples.logged(0) == []


def test_prompts_that_the_trainer_computed_are_logged_first(scored):
    assert samples_of(scored, 4, 5).logged(1) == [range(4, 8)]
    assert samples_of(scored)._replace(actor=None).logged(1) == [range(0, 4)]


def test_what_is_logged_is_what_was_sampled_and_learned_from(scored):
    samples = samples_of(scored, 1)
    first, second = logged_groups(samples, samples.groups())
    assert (first.ground_truth, len(first.samples)) == (scored.prompts[0].ground_truth, 4)
    logged, trajectory = first.samples[1], scored.trajectories[1]
    size = len(trajectory.response_ids)
    assert logged.response == scored.readings[1].text and logged.token_ids is trajectory.response_ids
    assert logged.advantages.tolist() == [24.0 + t for t in range(size)]
    assert logged.actor_log_probs is not None and logged.actor_log_probs.tolist() == [-1.5] * size
    assert first.samples[0].actor_log_probs is None and second.samples[3].reward is None
    assert second.samples[3].error == "Traceback: no reward" and second.samples[3].finish_reason == "length"


def test_a_digit_is_logged_with_its_truth_and_ten_probabilities(scored):
    samples = samples_of(scored)
    for logged in logged_groups(samples, samples.groups())[0].samples:
        assert logged.digit_truth is not None and logged.digit_probabilities is not None
        assert logged.digit_probabilities.shape == (len(logged.digit_positions), 10)
        for position in logged.digit_positions.tolist():
            assert logged.response[logged.token_starts[position] :].lstrip()[0].isdigit()
