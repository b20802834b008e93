# SPDX-License-Identifier: Apache-2.0
"""Weights that correct sampler-trainer mismatch: one call that selects from `ntl_jax.losses.correction`."""

from math import inf
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ntl_jax.config import CorrectionSection
from ntl_jax.losses import (
    banded_importance_weights,
    correction_metrics,
    correction_sums,
    sequence_rejection_mask,
    truncated_importance_weights,
)

METRICS = {
    "effective_sample_size": "rollout_is_eff_sample_size",
    "out_of_band_fraction": "out_of_band_fraction",
    "mean_weight": "rollout_is_mean",
    "kl": "kl",
    "k3_kl": "k3_kl",
}
"""Names of the group ``rollout_corr`` by those of `correction_metrics`; chi2 depends on the level."""


class OffPolicy(NamedTuple):
    """The weight of each token's loss, the mask of tokens to learn from, and metrics."""

    weights: Float[Array, "B T"]
    mask: Bool[Array, "B T"]
    metrics: dict[str, Float[Array, ""]]


def off_policy_correction(
    section: CorrectionSection,
    old_log_probs: Float[Array, "B T"],
    rollout_log_probs: Float[Array, "B T"],
    mask: Bool[Array, "B T"],
) -> OffPolicy:
    """Weights and mask for responses whose rollout log-probs differ from the trainer's.

    Args:
        section: the settings.
        old_log_probs: the trainer's, before the first update.
        rollout_log_probs: captured while sampling.
        mask: response tokens; one response per row.

    Example: the sampler's probability of the second token is a ninth of the trainer's
        >>> old, rollout, mask = jnp.full((1, 2), -1.0), jnp.array([[-1.0, -3.2]]), jnp.ones((1, 2), bool)
        >>> off_policy_correction(CorrectionSection(high=2.0), old, rollout, mask).weights.tolist()
        [[1.0, 2.0]]
        >>> banded = CorrectionSection(weights="banded", low=0.5, high=5.0)
        >>> off_policy_correction(banded, old, rollout, mask).weights.tolist()
        [[1.0, 0.0]]
    """
    pair, low = (old_log_probs, rollout_log_probs), section.low if section.weights == "banded" else 0.0
    match section.weights:
        case "none":
            weights = mask.astype(jnp.float32)
        case "truncated":
            weights = truncated_importance_weights(*pair, mask, cap=section.high, level=section.level)
        case "banded":
            weights = banded_importance_weights(*pair, mask, low=low, high=section.high, level=section.level)
    kept = _kept(section, *pair, mask)
    applied = jnp.where(kept, weights, 0.0)
    sums = correction_sums(*pair, mask, applied=applied, low=low, high=section.high, level=section.level)
    names = METRICS | {"chi2": "chi2_token" if section.level == "token" else "chi2_seq"}
    metrics = {f"rollout_corr/{names[name]}": value for name, value in correction_metrics(sums).items()}
    if section.rejection != "none":
        rejected = jnp.any(mask, axis=1) & ~jnp.any(kept, axis=1)
        metrics["rollout_corr/rejected"] = jnp.sum(rejected, dtype=jnp.float32)
    return OffPolicy(weights, kept, metrics)


def _kept(section: CorrectionSection, old_log_probs: Array, rollout_log_probs: Array, mask: Array) -> Array:
    """The mask without rejected responses."""
    if section.rejection == "none":
        return mask
    low = -inf if section.reject_below is None else section.reject_below
    high = inf if section.reject_above is None else section.reject_above
    return sequence_rejection_mask(
        old_log_probs, rollout_log_probs, mask, statistic=section.rejection, low=low, high=high
    )
