# SPDX-License-Identifier: Apache-2.0
"""Policy-gradient objectives, per token and minimized; `aggregate` reduces them.

Letters: `d = log_probs - old_log_probs`, `r = exp(clip(d, -20, 20))`, `A` advantages. `old_log_probs` and `advantages`
are constants: no gradient flows to them, so that passing `log_probs` as its own old value gives the on-policy gradient.

Deviations: `d` is clipped to +-20 before the exponential everywhere, so that a ratio is finite in value and gradient.
A token whose inputs are NaN has loss NaN and a gradient of exactly zero, and leaves its neighbors alone.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.per_token import check_shapes, clipped_log_ratio, contain, sequence_means
from ntl_jax.ops.arguments import (
    check_arrays,
    check_mask,
    check_not_negative,
    check_numbers,
    check_positive,
    check_same_shape,
    check_segment_ids,
)

MAX_LOG_RATIO = 20.0  # exp(20) is 4.9e8: no ratio beyond it carries information, and exp(89) overflows float32
MAX_SEQUENCE_LOG_RATIO = 10.0  # of GSPO's per-token mean, which a sum over T tokens would reach T times sooner


def clipped_policy_loss(
    log_probs: Float[Array, "..."],
    old_log_probs: Float[Array, "..."],
    advantages: Float[Array, "..."],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
) -> Float[Array, "..."]:
    """Clipped surrogate of PPO: no reward for moving the ratio further than the clip range allows.

    `max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))`, and with `dual_clip = c`, where A < 0, at most `-A c`.

    Schulman et al., "Proximal Policy Optimization Algorithms", eq. 7, https://arxiv.org/abs/1707.06347; separate
    bounds: DAPO, https://arxiv.org/abs/2503.14476; dual clip: Ye et al., https://arxiv.org/abs/1912.09729.

    Args:
        log_probs: [...] log-probabilities (nats) of the sampled tokens under the policy that is trained.
        old_log_probs: [...] the same under the policy that the ratio is taken against.
        advantages: [...], or of size 1 along an axis.
        clip_low: distance of the lower bound from 1.
        clip_high: distance of the upper bound from 1.
        dual_clip: largest ratio that a negative advantage is multiplied by, above 1 (3 is usual); None: no bound.

    Returns:
        [...] float32 loss per token.

    Raises:
        ValueError: the shapes do not agree, a clip is negative, or `dual_clip` is not above 1.

    Example:
        >>> log_probs, old_log_probs = jnp.array([-1.0, -1.0]), jnp.array([-1.0, -3.0])
        >>> clipped_policy_loss(log_probs, old_log_probs, jnp.array([1.0, 1.0]), clip_high=0.25).tolist()
        [-1.0, -1.25]
    """
    if dual_clip is not None:
        check_numbers("above 1 (3 is usual), or None for no bound", lambda x: x > 1, dual_clip=dual_clip)
    check_not_negative(clip_low=clip_low, clip_high=clip_high)
    bad, ratio, advantages = _ratio_and_advantages(log_probs, old_log_probs, advantages)
    loss = _clipped_surrogate(ratio, advantages, clip_low, clip_high)
    if dual_clip is not None:
        loss = jnp.where(advantages < 0, jnp.minimum(loss, -advantages * dual_clip), loss)
    return jnp.where(bad, jnp.nan, loss)


def gspo_policy_loss(
    log_probs: Float[Array, "... T"],
    old_log_probs: Float[Array, "... T"],
    advantages: Float[Array, "..."],
    mask: Bool[Array, "... T"],
    *,
    segment_ids: Int[Array, "... T"] | None = None,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
) -> Float[Array, "... T"]:
    """Clipped surrogate whose ratio is the sequence's, `exp(mean_t d)`; each token's gradient is its own.

    The PPO formula with `log r = min(logp - sg(logp) + sg(mean_t d), 10)`. Aggregate it with `seq-mean-token-mean`.

    Zheng et al., "Group Sequence Policy Optimization", https://arxiv.org/abs/2507.18071: the form with token
    gradients (GSPO-token), the paper's clip range.

    Args:
        log_probs: [..., T] log-probabilities (nats) of the sampled tokens under the policy that is trained.
        old_log_probs: [..., T] the same under the policy that the ratio is taken against.
        advantages: [..., T] or [..., 1].
        mask: bool [..., T], the response tokens.
        segment_ids: int [..., T]; if rows have several sequences, each run of equal ids is one. None: one per row.
        clip_low: distance of the lower bound from 1.
        clip_high: distance of the upper bound from 1.

    Returns:
        [..., T] float32 loss per token, 0 outside the mask.

    Raises:
        ValueError: the mask is not bool, the shapes do not agree, or a clip is negative.

    Example:
        >>> log_probs, old_log_probs = jnp.array([[-1.0, -2.0]]), jnp.array([[-2.0, -1.0]])
        >>> gspo_policy_loss(log_probs, old_log_probs, jnp.ones((1, 2)), jnp.ones((1, 2), bool)).tolist()
        [[-1.0, -1.0]]
    """
    check_mask(mask)
    check_same_shape(log_probs=log_probs, old_log_probs=old_log_probs, mask=mask)
    check_shapes(log_probs=log_probs, advantages=advantages)
    check_segment_ids(segment_ids, mask)
    check_not_negative(clip_low=clip_low, clip_high=clip_high)
    log_probs, old_log_probs = log_probs.astype(jnp.float32), old_log_probs.astype(jnp.float32)
    sequence_log_ratio, constant, advantages = jax.lax.stop_gradient(
        (sequence_means(log_probs - old_log_probs, mask, segment_ids), log_probs, advantages)
    )
    log_ratio = jnp.minimum(log_probs - constant + sequence_log_ratio, MAX_SEQUENCE_LOG_RATIO)
    bad, log_ratio, advantages = contain(log_ratio, advantages)
    loss = _clipped_surrogate(jnp.exp(log_ratio), advantages, clip_low, clip_high)
    return jnp.where(mask, jnp.where(bad, jnp.nan, loss), 0.0)


def cispo_policy_loss(
    log_probs: Float[Array, "..."],
    old_log_probs: Float[Array, "..."],
    advantages: Float[Array, "..."],
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Float[Array, "..."]:
    """REINFORCE weighted by the clipped ratio: clipping shrinks a token's weight but never removes its gradient.

    `-sg(clip(r, 1 - clip_low, 1 + clip_high)) A log_probs`.

    MiniMax, "MiniMax-M1", https://arxiv.org/abs/2506.13585 (there the lower bound is off: `clip_low=1`).

    Args:
        log_probs: [...] log-probabilities (nats) of the sampled tokens under the policy that is trained.
        old_log_probs: [...] the same under the policy that the ratio is taken against.
        advantages: [...], or of size 1 along an axis.
        clip_low: distance of the lower bound from 1.
        clip_high: distance of the upper bound from 1.

    Returns:
        [...] float32 loss per token.

    Raises:
        ValueError: the shapes do not agree, or a clip is negative.

    Example:
        >>> cispo_policy_loss(jnp.array([-1.0]), jnp.array([-3.0]), jnp.array([1.0]), clip_high=0.25).tolist()
        [1.25]
    """
    check_not_negative(clip_low=clip_low, clip_high=clip_high)
    bad, ratio, advantages = _ratio_and_advantages(log_probs, old_log_probs, advantages)
    weight = jax.lax.stop_gradient(jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high))
    loss = -weight * advantages * jnp.where(bad, 0.0, log_probs.astype(jnp.float32))
    return jnp.where(bad, jnp.nan, loss)


def sapo_policy_loss(
    log_probs: Float[Array, "..."],
    old_log_probs: Float[Array, "..."],
    advantages: Float[Array, "..."],
    *,
    tau_positive: float = 1.0,
    tau_negative: float = 1.05,
) -> Float[Array, "..."]:
    """Surrogate with a soft gate in place of the clip: its gradient fades smoothly as the ratio leaves 1.

    `-A sigmoid(tau (r - 1)) 4 / tau`, whose derivative at r = 1 is -A for any tau; tau is `tau_positive` where A > 0.
    Aggregate it with `seq-mean-token-mean`.

    Gao et al., "Soft Adaptive Policy Optimization", https://arxiv.org/abs/2511.20347.

    Args:
        log_probs: [...] log-probabilities (nats) of the sampled tokens under the policy that is trained.
        old_log_probs: [...] the same under the policy that the ratio is taken against.
        advantages: [...], or of size 1 along an axis.
        tau_positive: steepness of the gate where the advantage is positive.
        tau_negative: steepness elsewhere; larger, because pushing down one token lifts all others.

    Returns:
        [...] float32 loss per token.

    Raises:
        ValueError: the shapes do not agree, or a tau is not above 0.

    Example:
        >>> sapo_policy_loss(jnp.array([-1.0]), jnp.array([-1.0]), jnp.array([1.0])).tolist()
        [-2.0]
    """
    check_positive(tau_positive=tau_positive, tau_negative=tau_negative)
    bad, ratio, advantages = _ratio_and_advantages(log_probs, old_log_probs, advantages)
    tau = jnp.where(advantages > 0, tau_positive, tau_negative)
    loss = -advantages * jax.nn.sigmoid(tau * (ratio - 1.0)) * 4.0 / tau
    return jnp.where(bad, jnp.nan, loss)


def reinforce_policy_loss(
    log_probs: Float[Array, "..."], old_log_probs: Float[Array, "..."] | None, advantages: Float[Array, "..."]
) -> Float[Array, "..."]:
    """`-A log_probs`: the plain policy gradient, for data of the current policy.

    Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992,
    https://doi.org/10.1007/BF00992696.

    Args:
        log_probs: [...] log-probabilities (nats) of the sampled tokens under the policy that is trained.
        old_log_probs: ignored; stands here so that all policy losses are called alike.
        advantages: [...], or of size 1 along an axis.

    Returns:
        [...] float32 loss per token.

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> reinforce_policy_loss(jnp.array([-0.5, -1.0]), None, jnp.array([1.0, -1.0])).tolist()
        [0.5, -1.0]
    """
    check_shapes(log_probs=log_probs, advantages=advantages)
    bad, log_probs, advantages = contain(log_probs, jax.lax.stop_gradient(advantages))
    return jnp.where(bad, jnp.nan, -advantages * log_probs)


def entropy(logits: Float[Array, "... V"]) -> Float[Array, "..."]:
    """Entropy of the distribution that the logits define, `logsumexp(z) - sum_v p_v z_v`.

    A logit of -inf is an impossible token and counts nothing. For large V prefer `ntl_jax.ops.vocab_head`, which never
    holds the logits. Shannon, 1948, https://doi.org/10.1002/j.1538-7305.1948.tb01338.x.

    Args:
        logits: [..., V].

    Returns:
        [...] float32 entropy in nats, between 0 and log V; NaN, with gradient zero, where no logit is above -inf or one
        is NaN or +inf.

    Raises:
        ValueError: the logits are not an array.

    Example:
        >>> f"{entropy(jnp.array([0.0, 0.0, -jnp.inf])):.4f}"
        '0.6931'
    """
    check_arrays(logits=logits)
    logits = logits.astype(jnp.float32)
    peak = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    bad = ~jnp.isfinite(peak)
    # Relative to the peak, so that large logits do not cancel; -1e9 is far enough below it for a probability of 0.
    logits = jnp.where(bad, 0.0, jnp.maximum(logits - peak, -1e9))
    value = jax.nn.logsumexp(logits, axis=-1) - jnp.sum(jax.nn.softmax(logits, axis=-1) * logits, axis=-1)
    return jnp.where(jnp.squeeze(bad, axis=-1), jnp.nan, value)


def _ratio_and_advantages(log_probs: Array, old_log_probs: Array, advantages: Array) -> tuple[Array, ...]:
    """Which tokens are bad, then `r` and `A` with harmless values there."""
    check_same_shape(log_probs=log_probs, old_log_probs=old_log_probs)
    check_shapes(log_probs=log_probs, advantages=advantages)
    log_ratio = clipped_log_ratio(log_probs, old_log_probs, MAX_LOG_RATIO)
    bad, log_ratio, advantages = contain(log_ratio, jax.lax.stop_gradient(advantages))
    return bad, jnp.exp(log_ratio), advantages


def _clipped_surrogate(ratio: Array, advantages: Array, clip_low: float, clip_high: float) -> Array:
    """`max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))`."""
    return jnp.maximum(-advantages * ratio, -advantages * jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high))
