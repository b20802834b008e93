# SPDX-License-Identifier: Apache-2.0
"""The experience of an iteration: what is compared with what, and which rows and tokens count."""

import inspect

import chex
import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.config import AlgorithmSection, CorrectionSection, KLSection, RolloutSection, RunConfig
from ntl_jax.experience.builder import OVER_TOKENS, Evidence, ExperienceBuilder, build
from ntl_jax.experience.collector import Samples
from ntl_jax.experience.credit import Rewards
from ntl_jax.metrics import Clock
from ntl_jax.models import Critic, make_mesh, shardings
from ntl_jax.records import Rows, Targets
from ntl_jax.rewards import RewardOutcome
from ntl_jax.rows.layout import Layout
from ntl_jax.rows.padding import RowShape
from tests.samples import ask, lose, make_scorer, respond, samples_of

SHAPE = RowShape(row=32, response=24)
LENGTHS = np.array([6, 3, 5, 1, 6, 6, 2, 4])
RECOMPUTE = {"old_log_probs": "recompute", "correction": CorrectionSection(weights="none")}
PLAIN_BUILD = inspect.unwrap(build)
"""Without jit."""
IN_REWARD = KLSection(weight=0.5, place="reward", estimator="k1")


def evidence(seed: int = 0, *, old=True, reference=True, values=True, masked=()) -> Evidence:
    """Of two prompts with four samples; the first sample of each scores 1."""
    rng = np.random.default_rng(seed)
    is_response = np.arange(6) < LENGTHS[:, None]
    mask = is_response & ~np.isin(np.arange(8), masked)[:, None]
    rollout, trainer, frozen, critic = rng.normal([[[-1.0]]], 0.3, (4, 8, 6)).astype(np.float32)
    scores, groups = (np.arange(8) % 4 == 0).astype(np.float32), np.repeat([0, 1], 4).astype(np.int32)
    rewards = Rewards(scores, groups, LENGTHS, np.ones(8, bool), np.full(8, 0.25, np.float32))
    targets = Targets(np.zeros((8, 6), np.int32), mask, np.full((8, 6), np.nan, np.float32))
    return Evidence(
        targets=targets,
        rollout_log_probs=rollout,
        old_log_probs=trainer if old else None,
        reference_log_probs=frozen if reference else None,
        old_values=critic if values else None,
        rewards=rewards,
        kl_weight=0.5,
    )


@pytest.mark.parametrize(
    ("masked", "correction"),
    [((0, 4), RECOMPUTE["correction"]), ((), CorrectionSection(weights="none", rejection="mean_k1", reject_above=0.0))],
    ids=["cut off", "rejected"],
)
def test_the_divergence_is_subtracted_in_every_row_of_a_baseline(masked, correction):
    """Rows that are not learned from stay in the mean of their group, with all terms of their rewards."""
    given = evidence(masked=masked)
    settings = RECOMPUTE | {"correction": correction}
    algorithm = AlgorithmSection(kl=IN_REWARD, normalize_groups=False, **settings)
    experience, metrics = build(algorithm, given)
    counts = np.asarray(experience.mask).any(axis=1)
    assert 0 < counts.sum() < 8
    old, reference = np.asarray(given.old_log_probs), np.asarray(given.reference_log_probs)
    divergence = np.where(np.arange(6) < LENGTHS[:, None], old - reference, 0.0)
    rewards = given.rewards.scores - 0.5 * divergence.sum(axis=1)
    expected = rewards - np.repeat(rewards.reshape(2, 4).mean(axis=1), 4)
    np.testing.assert_allclose(experience.advantages[:, 0], np.where(counts, expected, 0.0), atol=1e-5)
    assert metrics["actor/kl"] == pytest.approx(divergence[experience.mask].mean(), abs=1e-6)
    assert metrics["actor/kl_weight"] == 0.5 and experience.reference_log_probs is None


def test_a_divergence_in_the_loss_leaves_the_rewards_alone_and_the_reference_for_the_update():
    given = evidence()
    in_loss, metrics = build(AlgorithmSection(kl=KLSection(weight=0.5)), given)
    without, others = build(AlgorithmSection(), given._replace(reference_log_probs=None))
    chex.assert_trees_all_equal(in_loss.advantages, without.advantages)
    chex.assert_trees_all_equal(in_loss.reference_log_probs, given.reference_log_probs)
    assert "actor/kl" in metrics and "actor/kl" not in others and without.reference_log_probs is None


def test_old_log_probs_are_the_captured_ones_unless_they_were_recomputed():
    captured, metrics = build(AlgorithmSection(), evidence(old=False))
    chex.assert_trees_all_equal(captured.old_log_probs, evidence().rollout_log_probs)
    assert captured.correction_weights is None and not [name for name in metrics if name.startswith("correction")]
    recomputed, metrics = build(AlgorithmSection(old_log_probs="recompute"), evidence())
    chex.assert_trees_all_equal(recomputed.old_log_probs, evidence().old_log_probs)
    ratio = np.exp(np.asarray(evidence().old_log_probs) - evidence().rollout_log_probs)
    expected = np.where(recomputed.mask, np.minimum(ratio, 2.0), 0.0)
    np.testing.assert_allclose(np.where(recomputed.mask, recomputed.correction_weights, 0), expected, rtol=1e-5)
    assert "rollout_corr/rollout_is_eff_sample_size" in metrics


BANDED = AlgorithmSection(
    advantage="reinforce_plus_plus",
    kl=IN_REWARD,
    old_log_probs="recompute",
    correction=CorrectionSection(weights="banded"),
)


@pytest.fixture(scope="module", params=["gae", "banded"])
def run(request):
    """`build` with one choice of settings, which may be traced once."""
    algorithm = {"gae": AlgorithmSection(advantage="gae", kl=IN_REWARD, **RECOMPUTE), "banded": BANDED}[request.param]
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def chosen(given: Evidence):
        return PLAIN_BUILD(algorithm, given)

    return chosen


def test_two_iterations_trace_once_and_give_finite_numbers_of_the_right_shapes(run):
    given = evidence()
    experience, metrics = run(given)
    chex.assert_trees_all_equal(experience.targets.ids, given.targets.ids)
    chex.assert_tree_all_finite((experience._replace(targets=None), metrics))
    chex.assert_shape([experience.mask, experience.old_log_probs, experience.advantages], (8, 6))
    chex.assert_tree_all_finite(run(evidence(1, masked=(2,))._replace(kl_weight=0.25))[1])


def test_without_jit_the_experience_is_the_same():
    algorithm, given = AlgorithmSection(advantage="remax", kl=IN_REWARD), evidence(old=False)
    chex.assert_trees_all_close(PLAIN_BUILD(algorithm, given), build(algorithm, given), atol=1e-5)


def test_what_lies_behind_a_response_changes_nothing(run):
    given = evidence()
    outside = np.arange(6) >= LENGTHS[:, None]
    poisoned = {
        name: np.where(outside, 7.0, getattr(given, name)).astype(np.float32)
        for name in ("rollout_log_probs", "old_log_probs", "reference_log_probs", "old_values")
    }
    (clean, metrics), (found, others) = (run(x) for x in (given, given._replace(**poisoned)))
    chex.assert_trees_all_close(others, metrics, rtol=1e-6)
    chex.assert_trees_all_close(found.advantages, clean.advantages, atol=1e-6)


def test_metrics_of_advantages_are_over_the_tokens_that_count():
    experience, metrics = build(AlgorithmSection(), evidence(masked=(1,)))
    counted = np.asarray(experience.advantages)[experience.mask]
    found = [metrics[f"critic/advantages/{name}"] for name in ("mean", "max", "min")]
    np.testing.assert_allclose(found, [counted.mean(), counted.max(), counted.min()], rtol=1e-5, atol=1e-7)


# The builder, on responses written by hand.

TEXTS = ["#### 5", "#### 7", "2+3=5 #### 5", "no"]
PROMPTS = [prompt for prompt in (ask(0), ask(1, "7")) for _ in range(4)]
TRAJECTORIES = [respond(prompt, TEXTS[i % 4], i % 4) for i, prompt in enumerate(PROMPTS)]
SCORES = [0.9, 0.1, 0.1, 0.2, 1.0, 0.0, 0.0, 0.0]


def make_builder(decoder, *, shape=(1, 1, 1), reference=None, critic=None, **algorithm) -> ExperienceBuilder:
    config = RunConfig(algorithm=AlgorithmSection(**algorithm), rollout=RolloutSection(max_tokens=12))
    mesh = make_mesh(shape, jax.devices()[: int(np.prod(shape))])
    graphs = {"graph": nnx.graphdef(decoder), "critic": None if critic is None else nnx.graphdef(critic)}
    return ExperienceBuilder(config, Layout("padded", SHAPE), reference=reference, mesh=mesh, **graphs)


def test_captured_log_probs_reach_the_experience_token_by_token(decoder):
    builder, clock = make_builder(decoder), Clock()
    rows, experience, metrics = builder(None, None, samples_of(PROMPTS, TRAJECTORIES, SCORES), 0.0, clock)
    captured = np.concatenate([t.rollout_log_probs for t in TRAJECTORIES])
    np.testing.assert_array_equal(experience.old_log_probs[experience.mask], captured)
    written = np.concatenate([t.response_ids for t in TRAJECTORIES])
    np.testing.assert_array_equal(experience.targets.ids[experience.mask], written)
    assert clock.seconds.keys() == {"adv"} and metrics.keys() == {
        f"critic/advantages/{x}" for x in ("mean", "max", "min")
    }
    assert isinstance(rows, Rows)
    chex.assert_shape(rows.predictors, experience.mask.shape)
    chex.assert_type([experience.advantages, experience.old_log_probs], np.float32)
    by_prompt = experience.advantages[:, 0].reshape(2, 4)
    np.testing.assert_allclose(by_prompt.sum(axis=1), 0, atol=1e-5)
    assert not experience.advantages[~experience.mask].any()


def test_true_numbers_stand_where_the_response_so_far_makes_them_due(decoder):
    _, targets = make_builder(decoder).rows(samples_of(PROMPTS, TRAJECTORIES, SCORES))
    due = [row[~np.isnan(row)].tolist() for row in targets.numbers]
    assert due == [[5], [5], [5], [], [7], [7], [7], []]


def test_a_sample_without_a_score_has_no_weight_and_leaves_its_groups_mean(decoder):
    """Of 0.9, 0.1, 0.1 the mean is 0.3667 and the deviation 0.4619: a silent 0 for the failed one would move both."""
    samples = samples_of(PROMPTS, TRAJECTORIES, [np.nan, 0.9, 0.1, 0.1] * 2)
    _, experience, _ = make_builder(decoder)(None, None, samples, 0.0, Clock())
    assert experience.mask.any(axis=1).tolist() == [False, True, True, True] * 2
    np.testing.assert_allclose(experience.advantages[:4, 0], [0, 1.1547, -0.5774, -0.5774], atol=1e-3)


def test_several_rewards_are_each_compared_within_their_group(decoder):
    """Scores count for nothing: `near` alone differs, and only in the first prompt."""
    results = [{"score": i, "exact_match": 1, "near": float(i == 0)} for i in range(8)]
    samples = samples_of(PROMPTS, TRAJECTORIES, [1.0] * 8)
    scored = samples.scored._replace(outcomes=[RewardOutcome.of(result) for result in results])
    builder = make_builder(decoder, advantage="gdpo", gdpo_reward_keys=("exact_match", "near"))
    _, experience, _ = builder(None, None, samples._replace(scored=scored), 0.0, Clock())
    # 1.5 and three times -0.5 in a batch of eight: a variance of 3 / 7
    np.testing.assert_allclose(
        experience.advantages[:, 0], np.array([1.5, -0.5, -0.5, -0.5, 0, 0, 0, 0]) * (7 / 3) ** 0.5, atol=1e-4
    )


@pytest.mark.parametrize("lost", [range(1), range(4), range(8)], ids=["a sample", "a group", "everything"])
@pytest.mark.parametrize("advantage", ["group", "leave_one_out", "reinforce_plus_plus"])
def test_lost_responses_have_no_weight_and_change_nothing_of_the_others(decoder, advantage, lost):
    """Of a lost group the other group sees nothing; of a lost sample, its group is that of the others."""
    sampled = [lose(t, i % 4) if i in lost else TRAJECTORIES[i] for i, t in enumerate(PROMPTS)]
    scored = make_scorer()(PROMPTS, sampled, tau=1.0)
    samples = Samples(scored, np.ones(8, bool), None, {})
    builder = make_builder(decoder, advantage=advantage)
    _, experience, metrics = builder(None, None, samples, 0.0, Clock())
    kept = np.array([i not in lost for i in range(8)])
    assert experience.mask.any(axis=1).tolist() == kept.tolist() == scored.valid.tolist()
    assert np.isfinite(experience.advantages).all() and not experience.advantages[~kept].any()
    assert all(np.isfinite(value) for value in metrics.values())
    if kept.any():
        rest = make_scorer()(
            [p for p, k in zip(PROMPTS, kept, strict=True) if k],
            [t for t, k in zip(sampled, kept, strict=True) if k],
            tau=1.0,
        )
        _, alone, _ = builder(None, None, Samples(rest, np.ones(kept.sum(), bool), None, {}), 0.0, Clock())
        np.testing.assert_allclose(experience.advantages[kept], alone.advantages, atol=1e-6)


@pytest.mark.parametrize("overlong", ["keep", "mask", "penalty"])
def test_responses_that_were_cut_off_and_samples_that_teach_nothing_are_masked(decoder, overlong):
    cut = respond(PROMPTS[0], TEXTS[0], finish="length")
    learned = np.arange(8) != 5
    samples = samples_of(PROMPTS, [cut, *TRAJECTORIES[1:]], SCORES, learned=learned)
    builder = make_builder(decoder, overlong=overlong)
    expected = learned & (np.arange(8) > 0) if overlong == "mask" else learned
    assert builder.rows(samples)[1].mask.any(axis=1).tolist() == expected.tolist()


def test_a_penalty_for_length_is_added_to_the_reward_and_reported(decoder):
    """Of 12 tokens the last 4 cost: the response of 11 tokens loses 3/4 of its reward of 1."""
    texts = ["5" * 11, "no", "no", "no"]
    sampled = [respond(PROMPTS[0], text, i, finish="length") for i, text in enumerate(texts)]
    samples = samples_of(PROMPTS[:4], sampled, [1.0, 0, 0, 0])
    settings = {"overlong": "penalty", "overlong_buffer": 4, "normalize_groups": False}
    _, experience, metrics = make_builder(decoder, **settings)(None, None, samples, 0.0, Clock())
    assert metrics["reward/overlong_penalty"] == pytest.approx(-0.75 / 4)
    np.testing.assert_allclose(experience.advantages[:, 0], [0.25 * x for x in (0.75, -0.25, -0.25, -0.25)], atol=1e-6)


def test_a_prompt_that_was_drawn_twice_is_two_groups(decoder):
    twins = [ask(0, draw=draw) for draw in (0, 6) for _ in range(4)]
    sampled = [respond(prompt, TEXTS[i % 4], i % 4) for i, prompt in enumerate(twins)]
    samples = samples_of(twins, sampled, [10.0] * 4 + [1.0, 0, 0, 0])
    _, experience, _ = make_builder(decoder, normalize_groups=False)(None, None, samples, 0.0, Clock())
    np.testing.assert_allclose(experience.advantages[:, 0], [0, 0, 0, 0, 0.75, -0.25, -0.25, -0.25], atol=1e-6)


def test_the_greedy_reward_of_the_prompt_is_the_baseline_of_remax(decoder):
    greedy = np.repeat([0.5, 0.25], 4).astype(np.float32)
    samples = samples_of(PROMPTS, TRAJECTORIES, SCORES, greedy_scores=greedy)
    _, experience, _ = make_builder(decoder, advantage="remax")(None, None, samples, 0.0, Clock())
    np.testing.assert_allclose(experience.advantages[:, 0], np.array(SCORES) - greedy, atol=1e-6)


@pytest.fixture(scope="module")
def critic(decoder) -> Critic:
    critic = Critic(decoder.config, rngs=nnx.Rngs(1))
    noise = jax.random.normal(jax.random.key(0), critic.value_head[...].shape)
    critic.value_head[...] = critic.value_head[...] + noise
    return critic


def with_every_pass(decoder, critic, shape):
    """A builder on a mesh, and what it takes: the old policy is the reference moved a little, so that they differ."""
    mesh = make_mesh(shape, jax.devices()[: int(np.prod(shape))])
    reference, values = (nnx.state(x, nnx.Param) for x in (decoder, critic))
    policy = jax.tree.map(lambda x: 1.2 * x, reference)
    policy, reference, values = (jax.device_put(x, shardings(x, mesh)) for x in (policy, reference, values))
    settings = {"advantage": "gae", "old_log_probs": "recompute", "kl": IN_REWARD}
    return make_builder(decoder, shape=shape, reference=reference, critic=critic, **settings), policy, values


@pytest.fixture(scope="module")
def on_one_device(decoder, critic):
    return with_every_pass(decoder, critic, (1, 1, 1))


def test_eight_devices_build_what_one_does_and_each_pass_is_timed(decoder, critic, on_one_device):
    samples, built = samples_of(PROMPTS, TRAJECTORIES, SCORES), []
    for builder, policy, values in (on_one_device, with_every_pass(decoder, critic, (2, 2, 2))):
        clock = Clock()
        built.append(builder(policy, values, samples, 0.5, clock))
        assert clock.seconds.keys() == {"old_log_prob", "ref", "values", "adv"}
    chex.assert_trees_all_close(*built, atol=1e-4)
    _, experience, metrics = built[0]
    assert experience.values is not None and metrics["actor/kl"] != 0
    assert np.std(experience.values.old[experience.mask]) > 0
    chex.assert_tree_all_finite((experience._replace(targets=None), metrics))


def test_where_no_token_counts_nothing_is_reported_of_them(on_one_device):
    samples = samples_of(PROMPTS, TRAJECTORIES, SCORES, learned=np.zeros(8, bool))
    builder, policy, values = on_one_device
    _, experience, metrics = builder(policy, values, samples, 0.5, Clock())
    assert not experience.mask.any() and not experience.advantages.any()
    assert not metrics.keys() & set(OVER_TOKENS) and metrics["actor/kl_weight"] == 0.5
