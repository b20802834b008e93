# SPDX-License-Identifier: Apache-2.0
"""Compares the sampler's log-probs of response tokens with the trainer's, on the device.

Only the aggregates and the most divergent tokens leave the device. Names that verl also uses have verl's meaning
(`verl/utils/debug/metrics.py` and `verl/trainer/ppo/rollout_corr_helper.py` of https://github.com/volcengine/verl).

Deviation: verl bounds the importance weights by its threshold before it computes their effective sample size; here they
are not bounded.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.correction import MAX_LOG_WEIGHT
from ntl_jax.losses.kl import k3_statistic, kl_k1
from ntl_jax.losses.per_token import sequence_means, sequence_sums
from ntl_jax.numerals.kinds import KINDS
from ntl_jax.ops.masked import masked_mean, masked_sum
from ntl_jax.processes.arrays import fetch
from ntl_jax.records import AnyArray

FACTOR_TWO = math.log(2.0)
PREFIX = "training/rollout_probs_diff"


class LogProbs(NamedTuple):
    """Log-probs of the same response tokens by sampler and trainer.

    Args:
        rollout: the sampler's, nats.
        actor: the trainer's, nats.
        mask: tokens to compare.
        segments: which tokens belong to one response; None: one response per row.
        kinds: the tokens' kinds, indices into `KINDS`; None: unknown.
        entropy: of the trainer's policy at each token, nats; None: unknown.
    """

    rollout: Float[AnyArray, "B T"]
    actor: Float[AnyArray, "B T"]
    mask: Bool[AnyArray, "B T"]
    segments: Int[AnyArray, "B T"] | None = None
    kinds: Int[AnyArray, "B T"] | None = None
    entropy: Float[AnyArray, "B T"] | None = None


class TopTokens(NamedTuple):
    """The most divergent tokens, the most divergent first: indices into [B, T], both log-probs, the trainer's entropy.

    Example: tokens 4 and 0 of the first row
        rows [0, 0], positions [4, 0], rollout [-0.1, -2.0], actor [-5.0, -2.1]
    """

    rows: Int[np.ndarray, "k"]
    positions: Int[np.ndarray, "k"]
    rollout: Float[np.ndarray, "k"]
    actor: Float[np.ndarray, "k"]
    entropy: Float[np.ndarray, "k"] | None = None


class Comparison(NamedTuple):
    """The result for some rows.

    Args:
        metrics: aggregates by name: ``training/...``, ``rollout_corr/...``, ``mismatch/KIND/...``.
        kl: mean of log rollout - log actor over the tokens, nats.
        mean, max: of the absolute differences of the probabilities.
        mean_log_ratio: mean of the absolute differences of the log-probs, nats.
        top: the most divergent tokens.
    """

    metrics: dict[str, float]
    kl: float
    mean: float
    max: float
    mean_log_ratio: float
    top: TopTokens

    def reaches(self, threshold: float) -> bool:
        """Whether two probabilities differ by the threshold, or are not finite."""
        return self.metrics[f"{PREFIX}_valid"] == 1 and not self.max < threshold


def compare(log_probs: LogProbs, *, top_k: int) -> Comparison:
    """Aggregates of the differences, and the most divergent tokens.

    Args:
        log_probs: of the same tokens by sampler and trainer, on the host or on the device.
        top_k: number of tokens to select; fewer if fewer count.

    Returns:
        The comparison, on the host. Without any token, ``training/rollout_probs_diff_valid`` is 0 and all else is NaN.

    Example: the second token has probability 0.5 for the sampler, 0.25 for the trainer
        >>> rollout, actor = jnp.log(jnp.array([[1.0, 0.5]])), jnp.log(jnp.array([[1.0, 0.25]]))
        >>> result = compare(LogProbs(rollout, actor, jnp.ones((1, 2), bool)), top_k=1)
        >>> round(result.metrics["training/rollout_probs_diff_mean"], 6), result.top.positions.tolist()
        (0.125, [1])
    """
    return comparing(log_probs, top_k=top_k)()


def comparing(log_probs: LogProbs, *, top_k: int) -> Callable[[], Comparison]:
    """As `compare`, but without waiting for the device: the result is waited for where it is called for."""
    shape, pending = log_probs.mask.shape, _compare(log_probs, top_k=min(top_k, log_probs.mask.size))

    def result() -> Comparison:
        values, of_kinds, num_tokens, top = fetch(pending)
        flat, rollout, actor, entropy = jax.tree.map(lambda x: x[: min(top_k, int(num_tokens))], top)
        rows, positions = np.unravel_index(flat, shape)
        top = TopTokens(rows, positions, rollout, actor, entropy)
        return _on_host({name: float(value) for name, value in values.items()}, of_kinds, float(num_tokens), top)

    return result


def _on_host(values: dict[str, float], of_kinds: list[np.ndarray], num_tokens: float, top: TopTokens) -> Comparison:
    kl, mean, largest = (values[name] for name in ("rollout_corr/kl", f"{PREFIX}_mean", f"{PREFIX}_max"))
    mean_log_ratio = values.pop("mean_log_ratio")
    metrics = {f"{PREFIX}_valid": float(num_tokens > 0), f"{PREFIX}_tokens": num_tokens} | values
    for kind, (count, *of_kind) in zip(KINDS, np.transpose(of_kinds).tolist(), strict=False):
        if count:
            metrics |= {f"mismatch/{kind}/{name}": x for name, x in zip(("kl", "mean", "max"), of_kind, strict=True)}
    return Comparison(metrics, kl, mean, largest, mean_log_ratio, top)


@functools.partial(jax.jit, static_argnames="top_k")
def _compare(
    log_probs: LogProbs, *, top_k: int
) -> tuple[dict[str, Array], list[Array], Array, tuple[Array, Array, Array, Array | None]]:
    """Aggregates by name; count, kl, mean and maximum by kind; number of tokens; the top: flat indices and values."""
    rollout, actor, mask, segments, kinds, entropy = jax.tree.map(jnp.asarray, log_probs)
    rollout, actor = rollout.astype(jnp.float32), actor.astype(jnp.float32)
    difference = jnp.abs(jnp.exp(rollout) - jnp.exp(actor))
    kl = kl_k1(rollout, actor)
    by_kind = []
    if kinds is not None:
        masks = [mask & (kinds == kind) for kind in range(len(KINDS))]
        of_kinds = [
            (jnp.sum(of_kind), masked_mean(kl, of_kind), masked_mean(difference, of_kind), _max(difference, of_kind))
            for of_kind in masks
        ]
        by_kind = [jnp.stack(values) for values in zip(*of_kinds, strict=True)]
    aggregates = _of_probabilities(rollout, actor, difference, mask) | _of_log_probs(rollout, actor, kl, mask, segments)
    _, top = jax.lax.top_k(jnp.where(mask, jnp.nan_to_num(difference, nan=2.0), -1.0).ravel(), top_k)
    num_tokens = jnp.sum(mask)
    aggregates = {name: jnp.where(num_tokens > 0, value, jnp.nan) for name, value in aggregates.items()}
    of_top = jax.tree.map(lambda x: x.ravel()[top], (rollout, actor, entropy))
    return aggregates, by_kind, num_tokens, (top, *of_top)


def _of_probabilities(rollout: Array, actor: Array, difference: Array, mask: Array) -> dict[str, Array]:
    count, mean = jnp.sum(mask, dtype=jnp.float32), masked_mean(difference, mask)
    variance = masked_sum((difference - mean) ** 2, mask) / (count - 1.0)  # NaN for a single token, as in verl
    x, y = (jnp.exp(log_probs) - masked_mean(jnp.exp(log_probs), mask) for log_probs in (rollout, actor))
    norms = jnp.sqrt(masked_sum(x**2, mask) * masked_sum(y**2, mask))
    return {
        f"{PREFIX}_max": _max(difference, mask),
        f"{PREFIX}_mean": mean,
        f"{PREFIX}_std": jnp.sqrt(variance),
        "training/rollout_actor_probs_pearson_corr": masked_sum(x * y, mask) / norms,
    }


def _of_log_probs(rollout: Array, actor: Array, kl: Array, mask: Array, segments: Array | None) -> dict[str, Array]:
    lengths = sequence_sums(jnp.ones_like(rollout), mask, segments)
    share = 1.0 / jnp.maximum(lengths, 1.0)  # each token is that fraction of its response
    responses = masked_sum(share, mask)

    def over_responses(of_response: Array) -> Array:
        return masked_sum(of_response * share, mask) / responses

    of_trainer, of_sampler = (-sequence_means(log_probs, mask, segments) for log_probs in (actor, rollout))
    weight = jnp.exp(jnp.clip(-kl, -MAX_LOG_WEIGHT, MAX_LOG_WEIGHT))
    of_response = jnp.exp(jnp.clip(sequence_sums(-kl, mask, segments), -MAX_LOG_WEIGHT, MAX_LOG_WEIGHT))
    mean_weight, mean_square = masked_mean(weight, mask), masked_mean(weight**2, mask)
    return {
        "rollout_corr/kl": masked_mean(kl, mask),
        "rollout_corr/k3_kl": masked_mean(k3_statistic(rollout, actor), mask),
        "rollout_corr/training_ppl": over_responses(jnp.exp(of_trainer)),
        "rollout_corr/rollout_ppl": over_responses(jnp.exp(of_sampler)),
        "rollout_corr/ppl_ratio": over_responses(jnp.exp(of_trainer - of_sampler)),
        "rollout_corr/chi2_token": mean_square - 1.0,
        "rollout_corr/chi2_seq": over_responses(of_response**2) - 1.0,
        "rollout_corr/rollout_is_mean": mean_weight,
        "rollout_corr/rollout_is_eff_sample_size": mean_weight**2 / mean_square,
        "rollout_corr/beyond_factor_two_fraction": masked_mean(jnp.abs(kl) > FACTOR_TWO, mask),
        "mean_log_ratio": masked_mean(jnp.abs(kl), mask),
    }


def _max(x: Array, mask: Array) -> Array:
    return jnp.max(x, where=mask, initial=0.0)
