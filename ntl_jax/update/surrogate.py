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
from jaxtyping import Array, Float

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
from ntl_jax.records import TrainBatch


class Ratios(NamedTuple):
    """Importance ratios of the tokens, and which of them the objective's clip holds back; None where it has no clip."""

    ratio: Float[Array, "B T"]
    clipped: Float[Array, "B T"] | None


def policy_loss(algorithm: AlgorithmSection, log_probs: Float[Array, "..."], tokens: TrainBatch) -> Float[Array, "..."]:
    """The surrogate of each token, before its weight.

    Args:
        algorithm: its ``objective`` and what belongs to it.
        log_probs: of the policy that is trained.
        tokens: a batch `anchored` for it; only arrays with the shape of ``log_probs`` are read.
    """
    old, advantages = tokens.old_log_probs, corrected_advantages(tokens)
    assert old is not None
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


def corrected_advantages(tokens: TrainBatch) -> Float[Array, "..."]:
    """The advantages times the off-policy weights: every objective is proportional to them, so this weighs its loss."""
    assert tokens.advantages is not None
    return tokens.advantages if tokens.correction_weights is None else tokens.correction_weights * tokens.advantages


def anchored(
    algorithm: AlgorithmSection,
    hidden: Float[Array, "B T D"],
    head: Float[Array, "D V"],
    batch: TrainBatch,
    temperature: float,
    num_tokens: int | None = None,
) -> TrainBatch:
    """The batch with what its objective compares log-probs with; for gspo the response's mean log ratio is in it."""
    if algorithm.objective != "gspo":
        return batch
    assert batch.old_log_probs is not None
    hidden, head = jax.lax.stop_gradient((hidden, head))
    nothing = jnp.zeros(0, jnp.int32)
    log_probs = vocab_head(
        hidden, head, batch.targets, nothing, temperature=temperature, num_tokens=num_tokens
    ).log_probs
    segments = batch.segment_ids
    if segments is not None:
        segments = jnp.take_along_axis(segments, batch.predictors, axis=1)
    log_ratio = sequence_means(log_probs - batch.old_log_probs, batch.mask, segments)
    return batch._replace(old_log_probs=log_probs - log_ratio)


def ratios(algorithm: AlgorithmSection, log_probs: Float[Array, "B T"], batch: TrainBatch) -> Ratios:
    """For reporting, of a batch that is `anchored`; 1 outside the mask.

    PPO's clip acts on one side, by the advantage's sign; CISPO's weight is held on both.
    """
    assert batch.old_log_probs is not None
    advantages = corrected_advantages(batch)
    ratio = jnp.exp(jnp.where(batch.mask, log_probs - batch.old_log_probs, 0.0))
    clips = {"clipped": algorithm.clipped, "gspo": algorithm.gspo, "cispo": algorithm.cispo}
    if (clip := clips.get(algorithm.objective)) is None:
        return Ratios(ratio, None)
    too_low, too_high = ratio < 1.0 - clip.clip_low, ratio > 1.0 + clip.clip_high
    if algorithm.objective == "cispo":
        return Ratios(ratio, too_low | too_high)
    return Ratios(ratio, (too_high & (advantages > 0)) | (too_low & (advantages < 0)))
