# SPDX-License-Identifier: Apache-2.0
"""The PPO iteration, with a real engine, tokenizer and rewards."""

import dataclasses
import itertools

import chex
import jax
import numpy as np
import pytest

from ntl_jax.config import CorrectionSection, KLSection, NTLSection, OptimizerSection
from ntl_jax.experience.collector import Samples
from ntl_jax.metrics import Clock
from ntl_jax.records import Version, Weights
from ntl_jax.train.factory import build_evaluator
from ntl_jax.update.terms import PPOTerms
from tests.samples import answering


@pytest.fixture(scope="module")
def changed(setup):
    """Two passes over the samples of an iteration, at a temperature other than 1."""
    return setup.changed(rollout={"temperature": 0.7}, algorithm={"epochs": 2})


@pytest.fixture(scope="module")
def stepped(changed):
    """A trainer after one iteration, its metrics and samples."""
    trainer = changed.trainer()
    metrics, samples = trainer.step()
    return trainer, metrics, samples.scored


def untimed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith(("timing_s", "perf"))}


def test_the_first_updates_ratio_is_one_and_a_later_one_is_not(stepped):
    """At another temperature too: trainer and sampler divide the same logits by it."""
    _, metrics, _ = stepped
    assert metrics["actor/first_ratio_deviation"] <= 1e-4
    assert metrics["actor/ratio_deviation"] > 1e-3


def test_an_iteration_reports_verls_names_and_ours(stepped):
    _, metrics, scored = stepped
    expected = {"actor/pg_loss", "actor/pg_clipfrac", "actor/ppo_kl", "actor/entropy", "critic/score/mean", "ntl/loss"}
    expected |= {"response_length/mean", "perf/throughput", "timing_s/gen", "timing_s/update_actor", "actor/grad_norm"}
    assert expected <= metrics.keys()
    assert metrics["critic/score/mean"] == pytest.approx(scored.scores.mean())
    assert metrics["non_finite"] == 0


def test_an_iteration_makes_its_updates_on_its_prompts(changed, stepped):
    trainer, _, scored = stepped
    assert trainer.state.step == 4 and trainer.iteration == 1  # two epochs of two minibatches
    assert trainer.last_prompts == [prompt.index for prompt in scored.prompts[::4]]
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), trainer.state.policy.params, changed.initial)
    assert all(jax.tree.leaves(moved))


def test_the_same_seed_gives_the_same_metrics_and_another_one_does_not(changed, stepped):
    again, other = changed.trainer(), dataclasses.replace(changed, config=dataclasses.replace(changed.config, seed=1))
    np.testing.assert_equal(untimed(again.step()[0]), untimed(stepped[1]))
    asked = other.trainer()._source.samples(0, changed.initial, Clock()).scored
    assert [p.index for p in asked.prompts] != [p.index for p in stepped[2].prompts]


def sample(trainer) -> Samples:
    """Of the first iteration."""
    return trainer._source.samples(0, trainer.state.params["policy"], Clock())


def test_an_update_takes_no_weights_that_are_lent(changed):
    """A source must retract what it published, as lockstep does: an update takes the memory of the weights."""
    trainer = changed.trainer()
    rows, experience, _ = trainer._build(changed.initial, None, sample(trainer), 0.0, Clock())
    trainer.engine.publish(Weights(Version(0), trainer.state.policy.params))
    with pytest.raises(AssertionError, match="retract them first"):
        trainer._update(rows, experience)
    trainer.engine.retract()


@pytest.mark.parametrize(
    ("decay", "loaded"), [(0.0, [Version(0)]), (0.9, [Version(0, "average"), Version(0)])], ids=["newest", "average"]
)
def test_an_evaluation_loads_nothing_that_the_engine_holds_already(setup, decay, loaded):
    """Equal weights have equal versions, and an average has one of its own: engines go by versions."""
    engine = answering(lambda request, index: "#### 1")
    optimizer = OptimizerSection(learning_rate=1e-3, warmup_steps=0, ema_decay=decay)
    changed = dataclasses.replace(setup.changed(algorithm={"optimizer": optimizer}), engine=engine)
    trainer = changed.trainer()
    evaluate = build_evaluator(changed.config, setup.policy, setup.prompts, engine, changed.scorer, changed.digits)
    evaluate(trainer.weights())
    sample(trainer)
    assert [version for version, _ in itertools.groupby(engine.published)] == loaded
    chex.assert_trees_all_equal(trainer.weights().params, trainer.state.policy.result)


def names_of_losses(setup) -> set[str]:
    """Metrics of the policy's loss, from its shapes alone: nothing is compiled."""
    trainer = setup.trainer()
    samples = sample(trainer)
    rows, experience, _ = trainer._build(setup.initial, None, samples, 0.0, Clock())
    terms = PPOTerms(setup.config, setup.policy.table, setup.policy.graph, None)
    (term,) = terms.of_update()
    loss = jax.eval_shape(term.loss, {"policy": setup.initial}, trainer._minibatch(rows, experience))
    return {f"actor/{name}" if "/" not in name else name for name in loss.metrics.means}


def test_a_weight_of_zero_leaves_the_number_term_out_of_the_loss(setup):
    assert "actor/ntl_loss" in names_of_losses(setup)
    assert "actor/ntl_loss" not in names_of_losses(setup.changed(ntl=NTLSection(weight=0.0)))


def test_without_ntl_nothing_of_it_is_captured_or_computed(setup):
    plain = setup.changed(ntl=NTLSection(enabled=False))
    scored = sample(plain.trainer()).scored
    assert scored.ntl_info is None and all(t.digit_log_probs is None for t in scored.trajectories)
    assert not [name for name in names_of_losses(plain) if "ntl" in name]


def test_recomputed_log_probs_are_those_that_were_captured_as_long_as_the_policy_is_the_same(setup):
    recompute = setup.changed(algorithm={"old_log_probs": "recompute"})
    trainer = recompute.trainer()
    samples = sample(trainer)
    _, experience, metrics = trainer._build(setup.initial, None, samples, 0.0, Clock())
    captured = np.concatenate([t.rollout_log_probs for t in samples.scored.trajectories])
    np.testing.assert_allclose(experience.old_log_probs[experience.mask], captured, atol=1e-4)
    assert metrics["rollout_corr/rollout_is_eff_sample_size"] == pytest.approx(1.0, abs=1e-4)


def test_the_critic_starts_at_zero_learns_and_is_reported(setup):
    trainer = setup.changed(algorithm={"advantage": "gae"}).trainer()
    first, _ = trainer.step()
    assert first["critic/values/mean"] == 0.0
    assert first["critic/vf_loss"] > 0 and first["actor/grad_norm"] > 0
    second, _ = trainer.step()
    assert second["critic/values/mean"] != 0.0


@pytest.fixture(scope="module")
def shared(setup):
    """Three iterations with a critic on the policy's trunk, of which two are planned and the first is the critic's."""
    changed = setup.changed(
        rollout={"top_p": 0.9},
        trainer={"steps": 2},
        algorithm={
            "advantage": "gae",
            "critic": "shared",
            "critic_warmup": 1,
            "critic_learning_rate": 1e-2,
            "old_log_probs": "recompute",
            "correction": CorrectionSection(weights="banded", high=5.0, rejection="mean_k3", reject_above=0.5),
            "entropy_weight": 0.01,
            "overlong": "penalty",
            "kl": KLSection(weight=0.1, place="reward", controller="adaptive", target=1e-4, horizon=160.0),
            "optimizer": OptimizerSection(name="muon", learning_rate=1e-3, warmup_steps=0, schedule="linear"),
        },
    )
    trainer, embeddings, steps = changed.trainer(), [], []
    for _ in range(3):
        steps.append(trainer.step()[0])
        embeddings.append(np.array(trainer.state.policy.params["embedding"][...]))
    return changed, trainer, steps, embeddings


def test_a_critic_on_the_policys_trunk_learns_before_the_policy_and_then_with_it(setup, shared):
    _, _, (first, second, _), (after_first, after_second, _) = shared
    np.testing.assert_array_equal(after_first, setup.initial["embedding"][...])
    assert "actor/pg_loss" not in first and first["critic/vf_loss"] > 0
    assert second["critic/values/mean"] != 0 and second["actor/first_ratio_deviation"] <= 1e-5
    assert (after_second != after_first).any()


def test_a_truncated_distribution_is_corrected_with_weights_of_what_was_kept(shared):
    """The sampler's distribution is the trainer's, cut to nine tenths and scaled up again."""
    first = shared[2][0]
    assert first["rollout_corr/rollout_is_mean"] == pytest.approx(0.9, abs=0.02) and first["rollout_corr/rejected"] == 0


def test_the_weight_of_the_divergence_is_steered_and_part_of_the_position(shared):
    changed, trainer, (_, second, third), _ = shared
    # Before the second iteration the policy has not moved: the weight falls by the largest step, 20% * 16 / 160.
    assert second["actor/kl_weight"] == pytest.approx(0.1 * 0.98) and third["actor/kl_weight"] != 0.1
    again = changed.trainer()
    again.restore(trainer.state, trainer.position(), {})
    assert again.position() == trainer.position() and again.position()["iteration"] == 3


def test_schedules_end_with_the_planned_updates_of_each_model(shared):
    """Two iterations of two updates, the first of the critic only: two updates of the policy, four of the critic."""
    steps = shared[2]
    assert [metrics.get("actor/update_norm", 0) > 0 for metrics in steps] == [False, True, False]
    assert [metrics["critic/update_norm"] > 0 for metrics in steps] == [True, True, False]
