# SPDX-License-Identifier: Apache-2.0
"""What is read off the samples of an iteration, on samples that no policy wrote."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.metrics.names import meaning
from ntl_jax.records import Experience, Targets, Values
from ntl_jax.rewards import RewardOutcome
from ntl_jax.train.journal.iteration_metrics import iteration_metrics, ntl_metrics
from tests.samples import LIKELY

SECONDS = {"gen": 2.0, "reward": 0.5, "update_actor": 1.5}


def experience_of(scored, values: Values | None = None) -> Experience:
    lengths = np.array([len(t.response_ids) for t in scored.trajectories])
    mask = np.arange(lengths.max()) < lengths[:, None]
    zeros = np.zeros(mask.shape, np.float32)
    return Experience(Targets(zeros.astype(np.int32), mask, zeros), zeros, zeros, values=values)


def metrics_of(scored, *, log_ntl: bool = True, values: Values | None = None) -> dict[str, float]:
    return iteration_metrics(scored, experience_of(scored, values), SECONDS, log_ntl=log_ntl)


def test_rewards_are_those_of_valid_samples_and_fractions_are_not_truncated(scored):
    metrics = metrics_of(scored)
    assert metrics["critic/score/mean"] == pytest.approx((0.9 + 0.25 + 1.0 + 0.5 + 0.25) / 7)
    assert (metrics["critic/score/min"], metrics["critic/score/max"]) == (0.0, 1.0)
    assert metrics["reward/dropped"] == 1
    assert metrics["reward/length"] == np.mean(range(7))  # what the function returned beside the score
    assert metrics["reward/accuracy"] == scored.exact_match.mean() >= 0.5


def test_a_key_named_like_a_metric_of_the_run_does_not_replace_it(scored):
    outcome = RewardOutcome.of({"score": 1.0, "accuracy": -5.0, "dropped": 7})
    metrics = metrics_of(scored._replace(outcomes=[outcome] * 8))
    assert metrics["reward/accuracy"] == scored.exact_match.mean() and metrics["reward/dropped"] == 0
    assert (metrics["reward/function/accuracy"], metrics["reward/function/dropped"]) == (-5.0, 7.0)
    assert meaning("reward/function/accuracy") == meaning("reward/length")


def test_lengths_and_speed_count_the_tokens_of_prompts_and_responses(scored):
    metrics = metrics_of(scored)
    lengths = [len(t.response_ids) for t in scored.trajectories]
    total = sum(lengths) + sum(len(p.ids) for p in scored.prompts)
    assert (metrics["response_length/mean"], metrics["response_length/max"]) == (np.mean(lengths), max(lengths))
    assert metrics["response_length/clip_ratio"] == 1 / 8
    assert (metrics["perf/total_num_tokens"], metrics["perf/throughput"]) == (total, total / 4.0)
    assert {name: metrics[f"timing_s/{name}"] for name in SECONDS} == SECONDS and metrics["timing_s/step"] == 4.0


def test_every_metric_of_an_iteration_has_a_meaning(scored):
    for name in metrics_of(scored):
        assert meaning(name)


def test_ntl_is_reported_where_there_is_a_record_and_it_is_asked_for(scored):
    metrics = metrics_of(scored)
    assert metrics["ntl/fallbacks"] == 1 and metrics["ntl/loss"] == metrics["ntl/ntl_loss"] > 0
    assert not [name for name in metrics_of(scored, log_ntl=False) if "ntl" in name]
    assert not [name for name in metrics_of(scored._replace(ntl_info=None)) if "ntl" in name]


def test_the_ntl_group_is_of_the_record(scored):
    info = scored.ntl_info
    metrics = ntl_metrics(info, 0.5)
    finite = info.ntl_loss[np.isfinite(info.ntl_loss)]
    assert 0 < len(finite) < 8  # a response without an answer has no finite loss
    assert metrics["ntl/loss"] == pytest.approx(finite.mean())
    assert metrics["ntl/reward"] == pytest.approx(np.exp(-info.ntl_loss / 0.5).mean())
    assert metrics["ntl/total_digits"] == info.total_digits.sum()
    assert metrics["ntl/confidence"] == pytest.approx(LIKELY) and metrics["ntl/temperature"] == 0.5
    # Of the digits that have a truth and the places that are missing.
    places = info.has_truth.sum() + info.missing_places.sum()
    assert metrics["ntl/digit_accuracy"] == info.correct_digits.sum() / places
    assert metrics["ntl/untruthed_digits"] == info.untruthed.sum()


def test_means_over_no_sample_are_nan(scored):
    failed = scored.outcomes[-1]
    metrics = metrics_of(scored._replace(outcomes=[failed] * 8))
    assert np.isnan(metrics["critic/score/mean"]) and metrics["reward/dropped"] == 8
    nothing = dataclasses.replace(scored.ntl_info, ntl_loss=np.full(8, np.inf, np.float32))
    assert np.isnan(ntl_metrics(nothing, 1.0)["ntl/loss"]) and ntl_metrics(nothing, 1.0)["ntl/reward"] == 0


def test_the_critic_is_compared_with_the_returns_where_tokens_count(scored):
    mask = experience_of(scored).mask
    returns = np.where(mask, np.linspace(0, 1, mask.size).reshape(mask.shape), 1e9)
    metrics = metrics_of(scored, values=Values(np.where(mask, returns, -1e9), returns))
    assert metrics["critic/vf_explained_var"] == pytest.approx(1)
    assert metrics["critic/values/mean"] == metrics["critic/returns/mean"] == pytest.approx(returns[mask].mean())
    zeros = metrics_of(scored, values=Values(np.zeros(mask.shape), returns))
    assert zeros["critic/values/mean"] == 0.0 and zeros["critic/vf_explained_var"] == pytest.approx(0)
    constant = metrics_of(scored, values=Values(returns, np.ones(mask.shape)))
    assert np.isnan(constant["critic/vf_explained_var"])
    assert not [name for name in metrics_of(scored) if "values" in name]
