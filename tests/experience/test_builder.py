# SPDX-License-Identifier: Apache-2.0
"""Masked rows are included in the baseline of their group, with all terms of their rewards."""

import dataclasses

import jax
import numpy as np
import pytest

from ntl_jax.config import CorrectionSection, KLSection
from ntl_jax.experience.collector import Samples
from ntl_jax.metrics import Clock
from ntl_jax.records import Version, Weights
from ntl_jax.rows.padding import pad_tokens
from ntl_jax.train.factory import assemble, ppo_trainer

KL_WEIGHT = 0.5


@pytest.mark.parametrize(
    "settings",
    [{"overlong": "mask"}, {"correction": CorrectionSection(weights="none", rejection="mean_k1", reject_above=0.0)}],
    ids=["cut off", "rejected"],
)
def test_the_divergence_is_subtracted_in_every_row_of_a_baseline(tiny_parts, settings):
    """Two prompts with four samples, by a policy updated since; the first of each is truncated and scores 1."""
    algorithm = dataclasses.replace(
        tiny_parts.config.algorithm,
        kl=KLSection(weight=KL_WEIGHT, place="reward", estimator="k1"),
        normalize_groups=False,
        old_log_probs="recompute",
        **{"correction": CorrectionSection(weights="none")} | settings,
    )
    config = dataclasses.replace(tiny_parts.config, algorithm=algorithm)
    trainer = ppo_trainer(dataclasses.replace(tiny_parts, config=config), assemble(config).params)
    trainer.engine.publish(Weights(Version(0), trainer.state.policy.params))
    sampled = trainer.engine.generate(trainer.prompts[:2], trainer.sampling, seed=0)
    trainer.engine.retract()
    is_first = np.arange(8) % 4 == 0
    reasons = np.where(is_first, "length", "stop").tolist()
    sampled = [dataclasses.replace(t, finish_reason=r) for t, r in zip(sampled, reasons, strict=True)]
    scored = trainer.scorer(trainer.prompts[:2], sampled)
    outcomes = [o._replace(score=float(first)) for o, first in zip(scored.outcomes, is_first, strict=True)]
    samples = Samples(scored._replace(outcomes=outcomes), np.ones(8, bool), None, {})
    moved = jax.tree.map(lambda p: 1.2 * p, trainer.state.policy.params)
    batch, metrics = trainer.experience(moved, None, samples, KL_WEIGHT, Clock())

    counts = batch.mask.any(axis=1)
    assert 0 < counts.sum() < 8
    # The reference is the policy that sampled.
    reference = pad_tokens([t.rollout_log_probs for t in sampled], batch.mask.shape[1], 0.0, np.float32)
    is_response = np.arange(batch.mask.shape[1]) < np.array([[len(t.response_ids)] for t in sampled])
    divergence = np.where(is_response, batch.old_log_probs - reference, 0.0)
    rewards = is_first - KL_WEIGHT * divergence.sum(axis=1)
    expected = rewards - np.repeat(rewards.reshape(2, 4).mean(axis=1), 4)
    np.testing.assert_allclose(np.asarray(batch.advantages)[:, 0], np.where(counts, expected, 0.0), atol=1e-4)
    assert metrics["actor/kl"] == pytest.approx(divergence[batch.mask].mean(), abs=1e-5)
