# SPDX-License-Identifier: Apache-2.0
"""Metrics of an iteration that are computed from the samples, on the host."""

from collections.abc import Mapping

import numpy as np

from ntl_jax.experience.scored import Scored
from ntl_jax.metrics.names import METRICS
from ntl_jax.records import Experience, NTLInfo


def iteration_metrics(
    scored: Scored, experience: Experience, seconds: Mapping[str, float], *, log_ntl: bool
) -> dict[str, float]:
    """Rewards, lengths, speed and, with ``log_ntl``, NTL metrics of one iteration."""
    valid = scored.valid
    scores = scored.scores[valid]
    lengths = np.array([len(t.response_ids) for t in scored.trajectories])
    num_tokens = int(lengths.sum()) + sum(len(p.ids) for p in scored.prompts)
    total = sum(seconds.values())
    metrics = {
        "critic/score/mean": _mean(scores),
        "critic/score/max": float(scores.max(initial=-np.inf)),
        "critic/score/min": float(scores.min(initial=np.inf)),
        "reward/accuracy": float(scored.exact_match.mean()),
        "reward/dropped": float((~valid).sum()),
        "response_length/mean": float(lengths.mean()),
        "response_length/max": float(lengths.max()),
        "response_length/clip_ratio": float(np.mean([t.finish_reason == "length" for t in scored.trajectories])),
        "prompt_length/mean": float(np.mean([len(p.ids) for p in scored.prompts])),
        "perf/total_num_tokens": float(num_tokens),
        "perf/throughput": num_tokens / total,
        "timing_s/step": total,
    }
    metrics |= {f"timing_s/{part}": value for part, value in seconds.items()}
    metrics |= _reward_metrics(scored)
    if undecided := sum(reading.undecided for reading in scored.readings):
        metrics["reward/undecided"] = float(undecided)
    if experience.values is not None:
        mask = np.asarray(experience.mask)
        metrics |= _critic_metrics(*(np.asarray(x)[mask] for x in experience.values))
    if scored.ntl_info is not None and log_ntl:
        metrics |= ntl_metrics(scored.ntl_info, scored.tau) | {"ntl/fallbacks": float(len(scored.fallbacks))}
    return metrics


def ntl_metrics(info: NTLInfo, tau: float) -> dict[str, float]:
    """The ``ntl/`` metrics; a mean over no samples is NaN."""
    loss = _mean(info.ntl_loss[np.isfinite(info.ntl_loss)])
    reward = float(np.exp(-info.ntl_loss / tau).mean())
    places = info.has_truth.sum() + info.missing_places.sum()
    return {
        "ntl/loss": loss,
        "ntl/ntl_loss": loss,
        "ntl/reward": reward,
        "ntl/ntl_reward": reward,
        "ntl/digit_accuracy": float(info.correct_digits.sum() / max(places, 1)),
        "ntl/total_digits": float(info.total_digits.sum()),
        "ntl/untruthed_digits": float(info.untruthed.sum()),
        "ntl/confidence": _mean(info.top_probability[info.is_digit]),
        "ntl/temperature": tau,
    }


def _critic_metrics(values: np.ndarray, returns: np.ndarray) -> dict[str, float]:
    if not len(returns):
        return {}
    variance = returns.var()
    return {
        "critic/values/mean": _mean(values),
        "critic/returns/mean": _mean(returns),
        "critic/vf_explained_var": float(1.0 - (returns - values).var() / variance) if variance > 0 else float("nan"),
    }


def _reward_metrics(scored: Scored) -> dict[str, float]:
    """Means of the reward function's other outputs, each over the samples that have it."""
    names = sorted({name for outcome in scored.outcomes for name in outcome.metrics})
    values = {name: np.array([o.metrics[name] for o in scored.outcomes if name in o.metrics]) for name in names}
    group = {name: "reward/function" if f"reward/{name}" in METRICS else "reward" for name in names}
    return {f"{group[name]}/{name}": _mean(of_samples) for name, of_samples in values.items()}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
