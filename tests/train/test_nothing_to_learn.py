# SPDX-License-Identifier: Apache-2.0
"""An update in which every weight is 0 changes nothing, and is counted."""

import dataclasses
import textwrap

import jax
import numpy as np
import pytest

from ntl_jax.config import CorrectionSection, KLSection, OptimizerSection, RewardSection
from ntl_jax.experience.scorer import Scorer
from ntl_jax.train.factory import assemble, ppo_trainer

EVERYTHING_MOVES = OptimizerSection(
    learning_rate=1e-3, warmup_steps=0, schedule="cosine", weight_decay=0.1, ema_decay=0.5
)
ADAPTIVE = KLSection(weight=0.1, controller="adaptive", target=1e-4, horizon=160.0)


@pytest.fixture
def trainer_with(tiny_parts, tmp_path):
    """Makes a trainer with four updates per iteration and a reward in terms of ``number``, the earlier calls."""

    def make(reward: str, *, pack: bool = False, ntl_weight: float = 0.1, **algorithm):
        path = tmp_path / "reward.py"
        source = """
        calls = []
        def score(data_source, solution_str, ground_truth, extra_info):
            number = len(calls)
            calls.append(solution_str)
            return float({})
        """
        path.write_text(textwrap.dedent(source).format(reward))
        settings = {"optimizer": EVERYTHING_MOVES, "minibatches": 4, "kl": ADAPTIVE} | algorithm
        config = dataclasses.replace(
            tiny_parts.config,
            ntl=dataclasses.replace(tiny_parts.config.ntl, weight=ntl_weight),
            reward=RewardSection(function=f"{path}:score"),
            algorithm=dataclasses.replace(tiny_parts.config.algorithm, **settings),
            trainer=dataclasses.replace(tiny_parts.config.trainer, pack_sequences=pack),
        )
        scorer = Scorer(config, tiny_parts.task, tiny_parts.tokenizer, tiny_parts.table)
        parts = dataclasses.replace(tiny_parts, config=config, scorer=scorer, params=assemble(config).params)
        return ppo_trainer(parts, parts.params)

    return make


def state_of(trainer):
    return jax.tree.map(np.array, jax.device_get(trainer.state))


@pytest.mark.parametrize("pack", [False, True])
def test_equal_rewards_change_nothing_with_dynamic_sampling(trainer_with, pack):
    trainer = trainer_with("number < 16 and number % 2", pack=pack, dynamic_sampling=True, max_refills=1)
    metrics, _ = trainer.step()
    assert metrics["actor/skipped_updates"] == 0 and metrics["actor/update_norm"] > 0
    before, position = state_of(trainer), trainer.position()
    metrics, _ = trainer.step()
    assert metrics["actor/skipped_updates"] == 4
    assert not {"actor/kl", "actor/loss", "actor/update_norm"} & metrics.keys()
    assert trainer.position()["kl_weight"] == position["kl_weight"]
    jax.tree.map(np.testing.assert_array_equal, state_of(trainer), before)


def test_truncated_responses_change_nothing_if_all_are_masked(trainer_with, monkeypatch):
    trainer = trainer_with("number % 2", overlong="mask")
    collect, before = trainer.collect, state_of(trainer)

    def cut_off(*args):
        samples = collect(*args)
        trajectories = [dataclasses.replace(t, finish_reason="length") for t in samples.scored.trajectories]
        return samples._replace(scored=samples.scored._replace(trajectories=trajectories))

    monkeypatch.setattr(trainer, "collect", cut_off)
    metrics, _ = trainer.step()
    assert metrics["actor/skipped_updates"] == 4
    jax.tree.map(np.testing.assert_array_equal, state_of(trainer), before)


def test_corrections_of_weight_0_change_nothing(trainer_with, monkeypatch):
    """The sampler's log-probs are so far from the trainer's that no token lies within the band."""
    band = CorrectionSection(weights="banded", low=0.5, high=2.0)
    none = KLSection()
    trainer = trainer_with("number % 2", old_log_probs="recompute", correction=band, kl=none, ntl_weight=0.0)
    collect, before = trainer.collect, state_of(trainer)

    def far_off(*args):
        samples = collect(*args)
        trajectories = [
            dataclasses.replace(t, rollout_log_probs=t.rollout_log_probs - 3.0) for t in samples.scored.trajectories
        ]
        return samples._replace(scored=samples.scored._replace(trajectories=trajectories))

    monkeypatch.setattr(trainer, "collect", far_off)
    metrics, _ = trainer.step()
    assert metrics["correction/out_of_band_fraction"] == 1 and metrics["actor/skipped_updates"] == 4
    jax.tree.map(np.testing.assert_array_equal, state_of(trainer), before)


def test_a_divergence_that_is_not_finite_leaves_its_weight_and_the_update_says_so(trainer_with, monkeypatch):
    trainer = trainer_with("number % 2")
    collect = trainer.collect

    def broken(*args):
        samples = collect(*args)
        first, *others = samples.scored.trajectories
        first = dataclasses.replace(first, rollout_log_probs=np.full_like(first.rollout_log_probs, np.nan))
        return samples._replace(scored=samples.scored._replace(trajectories=[first, *others]))

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "collect", broken)
        metrics, _ = trainer.step()
    assert metrics["non_finite"] == 1 and trainer.position()["kl_weight"] == ADAPTIVE.weight


def test_of_one_prompt_that_teaches_only_the_updates_with_its_samples_are_made(trainer_with):
    trainer = trainer_with("number == 3", dynamic_sampling=True, max_refills=1)
    metrics, _ = trainer.step()
    rows = np.random.default_rng([trainer.config.seed, 2, 0]).permutation(16).reshape(4, 4)
    made = (rows < 4).any(axis=1).sum()  # the first four samples are those of the prompt with a signal
    assert 0 < made < 4
    assert metrics["actor/skipped_updates"] == 4 - made
    assert trainer.state.step == made
    assert metrics["actor/first_ratio_deviation"] <= 1e-4
