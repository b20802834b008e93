# SPDX-License-Identifier: Apache-2.0
"""A response token's contribution to the policy's loss: one call that selects from `ntl_jax.losses` by the settings.

Objectives treat tokens one by one, so that the vocabulary head can compute the gradient in its forward pass. Only GSPO
needs a response's mean log ratio: `anchored` computes it in a pass through the head without gradient, and shifts the
old log-probs so that each token's ratio is its response's. This costs as much as recomputing the logits in a backward
pass, and all objectives share one path.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntl_jax.config import AlgorithmSection
from ntl_jax.losses import (
    cispo_policy_loss,
    clipped_policy_loss,
    gspo_policy_loss,
    reinforce_policy_loss,
    sapo_policy_loss,
)
from ntl_jax.losses.per_token import sequence_means
from ntl_jax.ops import vocab_head
from ntl_jax.records import Experience


class Ratios(NamedTuple):
    """Importance ratios of the tokens, and which tokens the objective clips; None if it has no clip."""

    ratio: Float[Array, "B T"]
    clipped: Float[Array, "B T"] | None


def policy_loss(algorithm: AlgorithmSection, log_probs: Float[Array, "..."], tokens: Experience) -> Float[Array, "..."]:
    """The surrogate of each token, before its weight.

    Args:
        algorithm: its ``objective`` and related settings.
        log_probs: log-probs of the policy in training.
        tokens: response tokens, `anchored` for the objective.
    """
    old, advantages = jnp.asarray(tokens.old_log_probs), corrected_advantages(tokens)
    match algorithm.objective:
        case "clipped":
            clip = algorithm.clipped
            bounds = {"clip_low": clip.clip_low, "clip_high": clip.clip_high, "dual_clip": clip.dual_clip}
            return clipped_policy_loss(log_probs, old, advantages, **bounds)
        case "gspo":
            clip = algorithm.gspo
            alone, each = jnp.ones((*log_probs.shape, 1), bool), (..., None)
            tokens_alone = log_probs[each], old[each], advantages[each], alone
            return gspo_policy_loss(*tokens_alone, clip_low=clip.clip_low, clip_high=clip.clip_high)[..., 0]
        case "cispo":
            clip = algorithm.cispo
            return cispo_policy_loss(log_probs, old, advantages, clip_low=clip.clip_low, clip_high=clip.clip_high)
        case "sapo":
            taus = {"tau_positive": algorithm.sapo.tau_positive, "tau_negative": algorithm.sapo.tau_negative}
            return sapo_policy_loss(log_probs, old, advantages, **taus)
        case "reinforce":
            return reinforce_policy_loss(log_probs, old, advantages)


def corrected_advantages(tokens: Experience) -> Float[Array, "..."]:
    """The advantages times the off-policy weights, which scales the loss: objectives are proportional to advantages."""
    advantages = jnp.asarray(tokens.advantages)
    return advantages if tokens.correction_weights is None else advantages * tokens.correction_weights


def anchored(
    algorithm: AlgorithmSection,
    hidden: Float[Array, "B T D"],
    head: Float[Array, "D V"],
    tokens: Experience,
    segments: Int[Array, "B T"] | None,
    *,
    temperature: float,
    num_tokens: int | None = None,
) -> Experience:
    """The tokens with the old log-probs that the objective compares with.

    Args:
        algorithm: its ``objective``; only gspo changes anything.
        hidden, head, temperature, num_tokens: as in `vocab_head`.
        tokens: response tokens of the update.
        segments: which tokens belong to one response; None: one response per row.

    Returns:
        The tokens; for gspo, with ``old_log_probs`` shifted so that each token's ratio is its response's.
    """
    if algorithm.objective != "gspo":
        return tokens
    hidden, head = jax.lax.stop_gradient((hidden, head))
    nothing = jnp.zeros(0, jnp.int32)
    ids, settings = jnp.asarray(tokens.targets.ids), {"temperature": temperature, "num_tokens": num_tokens}
    log_probs = vocab_head(hidden, head, ids, nothing, **settings).log_probs
    log_ratio = sequence_means(log_probs - tokens.old_log_probs, jnp.asarray(tokens.mask), segments)
    return tokens._replace(old_log_probs=log_probs - log_ratio)


def ratios(algorithm: AlgorithmSection, log_probs: Float[Array, "B T"], tokens: Experience) -> Ratios:
    """Ratios for metrics, of `anchored` tokens; 1 outside the mask.

    PPO clips on one side, by the advantage's sign; CISPO's weight is clipped on both.
    """
    advantages = corrected_advantages(tokens)
    ratio = jnp.exp(jnp.where(tokens.mask, log_probs - tokens.old_log_probs, 0.0))
    clips = {"clipped": algorithm.clipped, "gspo": algorithm.gspo, "cispo": algorithm.cispo}
    if (clip := clips.get(algorithm.objective)) is None:
        return Ratios(ratio, None)
    too_low, too_high = ratio < 1.0 - clip.clip_low, ratio > 1.0 + clip.clip_high
    if algorithm.objective == "cispo":
        return Ratios(ratio, too_low | too_high)
    return Ratios(ratio, (too_high & (advantages > 0)) | (too_low & (advantages < 0)))
