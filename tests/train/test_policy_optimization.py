# SPDX-License-Identifier: Apache-2.0
"""The PPO iteration, with a real engine, tokenizer and rewards."""

import dataclasses
import textwrap

import jax
import numpy as np
import pytest

from ntl_jax.config import CorrectionSection, KLSection, NTLSection, OptimizerSection, RewardSection
from ntl_jax.experience.collector import Samples
from ntl_jax.experience.scorer import Scorer
from ntl_jax.metrics import Clock
from ntl_jax.records import Version, Weights
from ntl_jax.train.factory import assemble, ppo_trainer


def with_reward(parts, path, source: str):
    """The same parts with the reward function `score` of this source."""
    path.write_text(textwrap.dedent(source))
    config = dataclasses.replace(parts.config, reward=RewardSection(function=f"{path}:score"))
    return dataclasses.replace(parts, config=config, scorer=Scorer(config, parts.task, parts.tokenizer, parts.table))


def with_algorithm(parts, **settings):
    """The same parts with other settings of the algorithm, and fresh parameters."""
    config = dataclasses.replace(parts.config, algorithm=dataclasses.replace(parts.config.algorithm, **settings))
    config.validate()
    return dataclasses.replace(parts, config=config, params=assemble(config).params)


def scored_samples(trainer) -> Samples:
    """Of the first four prompts."""
    trainer.engine.publish(Weights(Version(0), trainer.state.policy.params))
    trajectories = trainer.engine.generate(trainer.prompts[:4], trainer.sampling, seed=0)
    trainer.engine.retract()
    scored = trainer.scorer(trainer.prompts[:4], trajectories)
    return Samples(scored, np.ones(16, bool), None, {})


def experience_of(trainer, samples):
    return trainer.experience(trainer.state.policy.params, None, samples, 0.0, Clock())[0]


@pytest.fixture(scope="module")
def stepped(tiny_parts):
    """A trainer after one iteration, its metrics and samples."""
    trainer = ppo_trainer(tiny_parts, jax.tree.map(lambda x: x.copy(), tiny_parts.params))  # an update donates them
    return trainer, *trainer.step()


@pytest.mark.parametrize("temperature", [1.0, pytest.param(0.7, marks=pytest.mark.slow)])
def test_the_first_updates_ratio_is_one_and_a_later_one_is_not(tiny, tiny_parts, temperature):
    rollout = dataclasses.replace(tiny.rollout, temperature=temperature)
    config = dataclasses.replace(tiny, rollout=rollout, algorithm=dataclasses.replace(tiny.algorithm, epochs=2))
    parts = dataclasses.replace(tiny_parts, config=config, params=assemble(config).params)
    metrics, _ = ppo_trainer(parts, parts.params).step()
    assert metrics["actor/first_ratio_deviation"] <= 1e-4
    assert metrics["actor/ratio_deviation"] > 1e-3


def test_old_log_probs_are_the_captured_ones_in_every_epoch(tiny_parts):
    trainer = ppo_trainer(tiny_parts, assemble(tiny_parts.config).params)
    samples = scored_samples(trainer)
    batch = experience_of(trainer, samples)
    captured = np.concatenate([t.rollout_log_probs for t in samples.scored.trajectories])
    np.testing.assert_array_equal(np.asarray(batch.old_log_probs)[batch.mask], captured)


def test_an_iteration_reports_verls_names_and_ours(stepped):
    _, metrics, scored = stepped
    expected = {"actor/pg_loss", "actor/pg_clipfrac", "actor/ppo_kl", "actor/entropy", "critic/score/mean", "ntl/loss"}
    expected |= {"response_length/mean", "perf/throughput", "timing_s/gen", "timing_s/update_actor", "actor/grad_norm"}
    assert expected <= metrics.keys()
    assert metrics["critic/score/mean"] == pytest.approx(scored.scores.mean())
    assert metrics["non_finite"] == 0


def test_group_advantages_of_a_prompt_sum_to_zero_on_its_response_tokens(tiny_parts, stepped):
    trainer, _, scored = stepped
    batch = experience_of(trainer, Samples(scored, np.ones(16, bool), None, {}))
    first_tokens = np.asarray(batch.advantages)[:, 0].reshape(4, 4)
    np.testing.assert_allclose(first_tokens.sum(axis=1), 0, atol=1e-5)
    assert not np.asarray(batch.advantages)[~batch.mask].any()


def test_a_reward_that_fails_drops_its_sample_from_the_update_and_from_its_groups_mean(tiny_parts, tmp_path):
    parts = with_reward(
        tiny_parts,
        tmp_path / "reward.py",
        """
        calls = []
        def score(data_source, solution_str, ground_truth, extra_info):
            calls.append(solution_str)
            if len(calls) % 4 == 1:
                raise RuntimeError("no reward for the first sample of a prompt")
            return 0.9 if len(calls) % 4 == 2 else 0.1
        """,
    )
    trainer = ppo_trainer(parts, assemble(parts.config).params)
    samples = scored_samples(trainer)
    scored, batch = samples.scored, experience_of(trainer, samples)
    assert scored.valid.tolist() == [False, True, True, True] * 4
    assert "no reward for the first sample" in (scored.outcomes[0].error or "")
    assert np.asarray(batch.mask).any(axis=1).tolist() == scored.valid.tolist()
    # Of 0.9, 0.1, 0.1 the mean is 0.3667 and the deviation 0.4619: a silent 0 for the failed one would move both.
    advantages = np.asarray(batch.advantages)[:4, 0]
    np.testing.assert_allclose(advantages, [0, 1.1547, -0.5774, -0.5774], atol=1e-3)


def test_fractional_rewards_are_not_truncated(tiny_parts, tmp_path):
    parts = with_reward(
        tiny_parts, tmp_path / "reward.py", "def score(data_source, solution_str, ground_truth, extra_info): return 0.9"
    )
    trainer = ppo_trainer(parts, assemble(parts.config).params)
    metrics, _ = trainer.step()
    assert metrics["critic/score/mean"] == pytest.approx(0.9)


@pytest.mark.slow
def test_without_ntl_nothing_of_it_is_captured_or_reported(tiny, tiny_parts):
    config = dataclasses.replace(tiny, ntl=NTLSection(enabled=False))
    parts = dataclasses.replace(assemble(config), engine=tiny_parts.engine)
    metrics, scored = ppo_trainer(parts, parts.params).step()
    assert not [name for name in metrics if "ntl" in name]
    assert scored.ntl_info is None
    assert all(t.digit_log_probs is None for t in scored.trajectories)


@pytest.mark.slow
def test_a_weight_of_zero_leaves_the_number_term_out_of_the_loss(tiny, tiny_parts):
    config = dataclasses.replace(tiny, ntl=NTLSection(weight=0.0))
    parts = dataclasses.replace(assemble(config), engine=tiny_parts.engine)
    metrics, scored = ppo_trainer(parts, parts.params).step()
    assert "actor/ntl_loss" not in metrics
    assert scored.ntl_info is not None


@pytest.mark.slow
def test_the_critic_starts_at_zero_learns_and_is_reported(tiny_gae_parts):
    params = assemble(tiny_gae_parts.config).params
    trainer = ppo_trainer(tiny_gae_parts, params)
    first, _ = trainer.step()
    assert first["critic/values/mean"] == 0.0
    assert first["critic/vf_loss"] > 0
    later = [trainer.step()[0] for _ in range(4)]
    assert later[-1]["critic/values/mean"] != 0.0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_metrics_and_another_one_does_not(tiny, tiny_parts):
    def metrics_of(seed: int) -> dict[str, float]:
        config = dataclasses.replace(tiny, seed=seed)
        parts = dataclasses.replace(assemble(config), engine=tiny_parts.engine)
        trainer = ppo_trainer(parts, parts.params)
        trainer.step()
        metrics, _ = trainer.step()
        return {k: v for k, v in metrics.items() if not k.startswith(("timing_s", "perf"))}

    first, again, other = metrics_of(0), metrics_of(0), metrics_of(1)
    np.testing.assert_equal(again, first)
    assert other != first


def test_recomputed_log_probs_are_of_the_policy_before_the_first_update_and_stay_so_in_every_epoch(tiny_parts):
    parts = with_algorithm(tiny_parts, old_log_probs="recompute", epochs=2)
    metrics, _ = ppo_trainer(parts, parts.params).step()
    assert metrics["actor/first_ratio_deviation"] <= 1e-5
    assert metrics["actor/ratio_deviation"] > 1e-3
    assert metrics["correction/effective_sample_size"] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_a_critic_on_the_policys_trunk_learns_before_the_policy_and_then_with_it(tiny_parts):
    nucleus = dataclasses.replace(tiny_parts.config.rollout, top_p=0.9)
    parts = with_algorithm(
        dataclasses.replace(tiny_parts, config=dataclasses.replace(tiny_parts.config, rollout=nucleus)),
        advantage="gae",
        critic="shared",
        critic_warmup=1,
        critic_learning_rate=1e-2,
        old_log_probs="recompute",
        correction=CorrectionSection(weights="banded", high=5.0, rejection="mean_k3", reject_above=0.5),
        entropy_weight=0.01,
        overlong="penalty",
        kl=KLSection(weight=0.1, place="reward", controller="adaptive", target=1e-4, horizon=160.0),
        optimizer=OptimizerSection(name="muon", learning_rate=1e-3, warmup_steps=0),
    )
    trainer = ppo_trainer(parts, parts.params)
    before = trainer.decoder().embedding[...].copy()
    first, _ = trainer.step()
    np.testing.assert_array_equal(trainer.decoder().embedding[...], before)
    assert "actor/pg_loss" not in first and first["critic/vf_loss"] > 0
    # The sampler's distribution is the trainer's, cut to nine tenths and scaled up again.
    assert first["correction/mean_weight"] == pytest.approx(0.9, abs=0.02) and first["correction/rejected"] == 0
    second, _ = trainer.step()
    assert second["critic/values/mean"] != 0 and second["actor/first_ratio_deviation"] <= 1e-5
    assert (trainer.decoder().embedding[...] != before).any()
    # The policy has not moved yet, so the divergence was 0 and the weight falls by the largest step, 20% * 16 / 160.
    assert second["actor/kl_weight"] == pytest.approx(0.1 * 0.98)
    again = ppo_trainer(parts, assemble(parts.config).params)
    again.restore(trainer.state, trainer.position())
    assert again.position() == trainer.position()


@pytest.mark.slow
def test_schedules_end_with_the_planned_updates_of_each_model(tiny_parts):
    """Four iterations of two updates, the first with the critic only: six policy updates, eight critic updates."""
    parts = with_algorithm(
        tiny_parts,
        advantage="gae",
        critic="shared",
        critic_warmup=1,
        optimizer=OptimizerSection(learning_rate=1e-3, warmup_steps=0, schedule="linear"),
    )
    trainer = ppo_trainer(parts, parts.params)
    moved = [trainer.step()[0] for _ in range(5)]
    assert [metrics.get("actor/update_norm", 0) > 0 for metrics in moved] == [False, True, True, True, False]
    assert [metrics["critic/update_norm"] > 0 for metrics in moved] == [True, True, True, True, False]


@pytest.mark.slow
def test_prompts_whose_samples_score_the_same_are_replaced_and_else_left_out(tiny_parts, tmp_path):
    parts = with_reward(
        tiny_parts,
        tmp_path / "reward.py",
        """
        calls = []
        def score(data_source, solution_str, ground_truth, extra_info):
            calls.append(solution_str)
            group = (len(calls) - 1) // 4
            if group == 8 and len(calls) % 4 == 0:
                raise RuntimeError("no reward for a sample that is replaced")
            return float(group in (5, 17) and len(calls) % 4 == 0)
        """,
    )
    parts = with_algorithm(
        parts,
        dynamic_sampling=True,
        max_refills=2,
        advantage="leave_one_out",
        objective="gspo",
        aggregation="seq-mean-token-mean",
        overlong="mask",
        kl=KLSection(weight=0.01, estimator="k3"),
        optimizer=OptimizerSection(name="adafactor", learning_rate=1e-3, warmup_steps=0),
    )
    config = dataclasses.replace(parts.config, trainer=dataclasses.replace(parts.config.trainer, pack_sequences=True))
    trainer = ppo_trainer(dataclasses.replace(parts, config=config), parts.params)
    samples = trainer.collect(trainer.decoder(), 0, Clock())
    assert samples.metrics == {"sampling/refills": 2.0, "sampling/equal_groups": 11.0}
    assert samples.learned.tolist() == [True] * 4 + [False] * 12
    assert samples.scored.scores[:4].tolist() == [0, 0, 0, 1]
    assert samples.scored.ntl_info is not None and samples.scored.ntl_info.batch_size == 16
    ((prompt, error),) = samples.scored.reward_errors
    assert prompt not in trainer.last_prompts and "no reward for a sample that is replaced" in error
    metrics, _ = trainer.step()
    assert metrics["non_finite"] == 0 and metrics["actor/skipped_updates"] < trainer.config.algorithm.minibatches


@pytest.mark.slow
def test_remax_compares_with_the_greedy_response_to_the_same_prompt(tiny_parts):
    parts = with_algorithm(tiny_parts, advantage="remax")
    trainer = ppo_trainer(parts, parts.params)
    samples = trainer.collect(trainer.decoder(), 0, Clock())
    assert samples.greedy_scores is not None
    batch = experience_of(trainer, samples)
    expected = samples.scored.scores - samples.greedy_scores
    np.testing.assert_allclose(np.asarray(batch.advantages)[:, 0], expected, atol=1e-6)
