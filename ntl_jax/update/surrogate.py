# SPDX-License-Identifier: Apache-2.0
"""What a response token contributes to the policy's loss, by setting: `ntl_jax.losses` behind one call.

Every objective treats tokens one by one, so that the vocabulary head can take the gradient in its forward pass. The one
that does not, GSPO's, needs a response's mean log ratio: `anchored` finds it in a walk through the head without a
gradient and shifts the old log-probs so that each token's ratio is its response's. That costs what the recomputation of
the logits in a backward pass would, and leaves one path for all.
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
    """Importance ratios of the tokens, and which of them the objective's clip holds back; None where it has no clip."""

    ratio: Float[Array, "B T"]
    clipped: Float[Array, "B T"] | None


def policy_loss(algorithm: AlgorithmSection, log_probs: Float[Array, "..."], tokens: Experience) -> Float[Array, "..."]:
    """The surrogate of each token, before its weight.

    Args:
        algorithm: its ``objective`` and what belongs to it.
        log_probs: of the policy that is trained.
        tokens: `anchored` for the objective.
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
    """The advantages times the off-policy weights: every objective is proportional to them, so this weighs its loss."""
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
    """The tokens with what the objective compares their log-probs with.

    Args:
        algorithm: its ``objective``; only gspo changes anything.
        hidden, head, temperature, num_tokens: as in `vocab_head`.
        tokens: of the update.
        segments: which tokens belong to one response; None: one response a row.

    Returns:
        For gspo, ``old_log_probs`` with which each token's ratio is its response's.
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
    """For metrics, of tokens that are `anchored`; 1 outside the mask.

    PPO's clip acts on one side, by the advantage's sign; CISPO's weight is held on both.
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
