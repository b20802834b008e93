# SPDX-License-Identifier: Apache-2.0
"""The trainer's view of responses equals what its engine recorded while sampling them."""

import jax
import numpy as np
import pytest

from ntl_jax.train.mismatch.trainer_pass import TrainerPass, responses_of


@pytest.fixture(scope="module")
def sampled(setup):
    """Samples of the initial policy, and the trainer's passes over them."""
    scored = setup.trainer().step()[1].scored
    shape = setup.prompts.shape(setup.config.rollout.max_tokens)
    return scored.trajectories[:3], TrainerPass(setup.policy, shape, temperature=1.0, max_tokens=16_384)


def test_log_probs_of_tokens_and_digits_are_those_of_the_sampler(setup, sampled):
    trajectories, trainer = sampled
    scores = trainer.scores(setup.initial, responses_of(trajectories))
    for row, t in enumerate(trajectories):
        size = len(t.response_ids)
        np.testing.assert_allclose(scores.log_probs[row, :size], t.rollout_log_probs, atol=1e-4)
        np.testing.assert_allclose(scores.digits[row, :size], t.digit_log_probs, atol=1e-4)


def test_another_temperature_and_another_head_change_the_log_probs(setup, sampled):
    trajectories, trainer = sampled
    of, other = responses_of(trajectories), jax.tree.map(lambda x: 2 * x, setup.initial)
    own = trainer.scores(setup.initial, of).log_probs
    for scores in (
        trainer.scores(setup.initial, of, temperature=0.5),
        trainer.scores(setup.initial, of, head=other),
    ):
        assert np.abs(scores.log_probs - own).max() > 1e-3


def test_alternatives_are_the_most_likely_tokens_and_hold_the_sampled_one_where_it_is_likely(setup, sampled):
    trajectories, trainer = sampled
    found = trainer.alternatives(setup.initial, responses_of(trajectories), np.array([0, 1, 2]))
    assert found.ids.shape == (3, 5) and (np.diff(found.log_probs, axis=1) <= 0).all()
    assert ((found.entropy > 0) & (found.entropy <= np.log(setup.policy.vocabulary.num_tokens) + 1e-5)).all()
    for row, (t, position) in enumerate(zip(trajectories, range(3), strict=True)):
        for token, log_prob in zip(found.ids[row], found.log_probs[row], strict=True):
            if token == t.response_ids[position]:
                assert log_prob == pytest.approx(t.rollout_log_probs[position], abs=1e-4)
