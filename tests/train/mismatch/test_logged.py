# SPDX-License-Identifier: Apache-2.0
"""What a run knows about a response stands in its lines."""

import numpy as np

from ntl_jax.records import Experience, Targets
from ntl_jax.train.mismatch.logged import logged_response


def experience_of(scored) -> Experience:
    size = max(len(t.response_ids) for t in scored.trajectories)
    shape = (len(scored.trajectories), size)
    targets = Targets(np.zeros(shape, int), np.ones(shape, bool), np.full(shape, np.nan))
    return Experience(targets, np.zeros(shape), np.arange(shape[0])[:, None] + np.zeros(shape))


def test_score_truth_kinds_and_version_are_those_of_the_response(scored):
    found = logged_response(scored, experience_of(scored), 1)
    trajectory, reading = scored.trajectories[1], scored.readings[1]
    size = len(trajectory.response_ids)
    assert found.length == size and found.is_correct == reading.exact_match
    assert isinstance(found.scores, np.ndarray) and found.scores.sum() == np.float32(0.25) == found.scores[-1]
    assert found.advantages is not None and found.advantages.tolist() == [1.0] * size
    np.testing.assert_array_equal(found.truth, reading.labels.truth)
    np.testing.assert_array_equal(found.kinds, reading.kinds)
    np.testing.assert_array_equal(found.versions, [trajectory.version.iteration + 1] * size)
    assert found.prompt_text == scored.prompts[1].text


def test_a_sample_without_a_reward_has_no_score(scored):
    found = logged_response(scored, experience_of(scored), 7)
    assert isinstance(found.scores, np.ndarray) and np.isnan(found.scores.sum())
