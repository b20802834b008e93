# SPDX-License-Identifier: Apache-2.0
"""An update in which every weight is 0 changes nothing, and is counted; with samples by hand instead of an engine's."""

import dataclasses
from typing import Any

import chex
import jax
import numpy as np
import pytest

from ntl_jax.config import KLSection, OptimizerSection
from ntl_jax.experience.builder import ExperienceBuilder
from ntl_jax.experience.collector import Samples
from ntl_jax.metrics import Clock
from ntl_jax.records import Params, Trajectory, Version, VersionSpan
from ntl_jax.rows.padding import pad_rows
from ntl_jax.rows.passes import RowPass, sampled_log_probs
from ntl_jax.train.factory import row_layout
from ntl_jax.train.stages.policy_optimization import PPOTrainer
from ntl_jax.train.stages.sample_source import SampleSource
from ntl_jax.update.terms import PPOTerms
from tests.samples import lose

EVERYTHING_MOVES = OptimizerSection(
    learning_rate=1e-3, warmup_steps=0, schedule="cosine", weight_decay=0.1, ema_decay=0.5
)
ADAPTIVE = KLSection(weight=0.1, controller="adaptive", target=1e-4, horizon=160.0)
TEACHING = np.arange(16) < 4
"""Samples of the first of four prompts."""


class Given(SampleSource):
    """Gives the samples that were set."""

    def __init__(self, samples: Samples):
        self.given = samples

    def samples(self, iteration: int, policy: Params, clock: Clock) -> Samples:
        return self.given

    def position(self) -> dict[str, Any]:
        return {}

    def restore(self, position, arrived) -> None:
        pass


@pytest.fixture(scope="module")
def small(setup):
    """Four updates an iteration; responses that reach the limit are not learned from."""
    algorithm = {"optimizer": EVERYTHING_MOVES, "minibatches": 4, "kl": ADAPTIVE, "overlong": "mask"}
    return setup.changed(algorithm=algorithm)


@pytest.fixture(scope="module")
def samples(small) -> Samples:
    """Random responses to four prompts, with the policy's own log-probs; the samples of a prompt score 0, 1, 0, 1."""
    prompts = [prompt for prompt in small.prompts.train[:4] for _ in range(4)]
    rng, shape = np.random.default_rng(0), small.prompts.shape(small.config.rollout.max_tokens)
    digits = np.asarray(small.policy.digits.ids)
    responses = [rng.choice(digits, n).astype(np.int32) for n in rng.integers(2, 9, 16)]
    nothing = [np.full(len(r), np.nan) for r in responses]
    rows, targets = pad_rows([p.ids for p in prompts], responses, shape, numbers=nothing)
    run = RowPass(sampled_log_probs, small.policy.mesh, 10_000)
    log_probs = run(small.policy.graph, small.initial, rows, (targets.ids,), np.float32(1.0))
    trajectories = [
        Trajectory(
            prompt.index,
            i % 4,
            prompt.ids,
            response,
            log_probs[i, : len(response)],
            np.full((len(response), 10), -2.3, np.float32),
            "stop",
            (VersionSpan(0, len(response), Version(0)),),
        )
        for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
    ]
    scored = small.scorer(prompts, trajectories, 1.0)
    outcomes = [outcome._replace(score=float(i % 2)) for i, outcome in enumerate(scored.outcomes)]
    return Samples(scored._replace(outcomes=outcomes), np.ones(16, bool), None, {})


@pytest.fixture(scope="module")
def trained(small, samples):
    """A trainer after an iteration with one prompt that teaches, with the metrics; what it samples can be set."""
    policy, config, source = small.policy, small.config, Given(samples._replace(learned=TEACHING))
    layout = row_layout(config, policy, small.prompts.shape(config.rollout.max_tokens))
    builder = ExperienceBuilder(
        config, layout, graph=policy.graph, reference=small.initial, critic=None, mesh=policy.mesh
    )
    trainer = PPOTrainer(
        config,
        policy,
        small.params(),
        critic=None,
        terms=PPOTerms(config, policy.table, policy.graph, None),
        source=source,
        builder=builder,
        layout=layout,
        engine=small.engine,
        scorer=small.scorer,
    )
    return trainer, source, trainer.step()[0]


def of_trajectories(samples: Samples, change) -> Samples:
    return samples._replace(scored=samples.scored._replace(trajectories=[*map(change, samples.scored.trajectories)]))


@pytest.mark.slow
def test_of_one_prompt_that_teaches_only_the_updates_with_its_samples_are_made(trained):
    """A prompt's four samples are dealt together, into one of the four updates."""
    trainer, _, metrics = trained
    assert metrics["actor/skipped_updates"] == 3 and metrics["actor/update_norm"] > 0
    assert trainer.state.step == 1
    assert metrics["actor/first_ratio_deviation"] <= 1e-4


def lost(small, samples: Samples, rows: int) -> Samples:
    """The engine gave up the first so many responses."""
    prompts = samples.scored.prompts
    sampled = [lose(prompts[i], i % 4) if i < rows else t for i, t in enumerate(samples.scored.trajectories)]
    scored = small.scorer(prompts, sampled, 1.0)
    outcomes = [
        outcome if i < rows else outcome._replace(score=float(i % 2)) for i, outcome in enumerate(scored.outcomes)
    ]
    return Samples(scored._replace(outcomes=outcomes), np.ones(16, bool), None, {})


def test_an_iteration_with_a_lost_group_learns_from_the_others(trained, small, samples):
    trainer, source, _ = trained
    source.given = lost(small, samples, rows=4)
    step, before = int(trainer.state.step), jax.tree.map(np.copy, jax.device_get(trainer.state.params))
    metrics, of_step = trainer.step()
    scored = of_step.scored
    assert metrics["actor/skipped_updates"] == 1 and metrics["reward/dropped"] == 4
    assert trainer.state.step == step + 3 and len(scored.reward_errors) == 4 and not metrics.get("non_finite")
    moved = jax.tree.map(lambda a, b: bool((np.asarray(a) != b).any()), trainer.state.params, before)
    assert any(jax.tree.leaves(moved)) and metrics["actor/update_norm"] > 0


@pytest.mark.parametrize("why", ["equal rewards", "all cut off", "all lost"])
def test_an_iteration_without_anything_to_learn_changes_nothing_and_is_counted(trained, small, samples, why):
    """Dynamic sampling found no prompt that teaches, every response reached the limit, or the engine lost all; the
    divergence is unknown."""
    trainer, source, _ = trained
    if why == "equal rewards":
        source.given = samples._replace(learned=np.zeros(16, bool))
    elif why == "all lost":
        source.given = lost(small, samples, rows=16)
    else:
        source.given = of_trajectories(samples, lambda t: dataclasses.replace(t, finish_reason="length"))
    before, kl_weight = jax.device_get(trainer.state), trainer.position()["kl_weight"]
    before = jax.tree.map(np.copy, before)
    metrics, _ = trainer.step()
    assert metrics["actor/skipped_updates"] == 4
    assert not {"actor/kl", "actor/loss", "actor/update_norm"} & metrics.keys()
    assert trainer.position()["kl_weight"] == kl_weight
    chex.assert_trees_all_equal(jax.device_get(trainer.state), before)


def test_a_divergence_that_is_not_finite_leaves_its_weight_and_the_update_says_so(trained, samples):
    trainer, source, _ = trained
    first, *others = samples.scored.trajectories
    first = dataclasses.replace(first, rollout_log_probs=np.full_like(first.rollout_log_probs, np.nan))
    source.given = samples._replace(scored=samples.scored._replace(trajectories=[first, *others]))
    kl_weight = trainer.position()["kl_weight"]
    metrics, _ = trainer.step()
    assert metrics["non_finite"] == 1 and trainer.position()["kl_weight"] == kl_weight
