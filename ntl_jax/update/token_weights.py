# SPDX-License-Identifier: Apache-2.0
"""The weight of each token in the loss of an update; the denominators are in the weights, so parts add up."""

import jax.numpy as jnp
import numpy as np

from ntl_jax.losses import token_weights
from ntl_jax.records import Experience, Targets, TokenWeights


def supervised_weights(targets: Targets) -> TokenWeights:
    """Means of their own: of the cross entropy over all tokens, and of NTL over those with a true number."""
    return TokenWeights(*(np.asarray(token_weights(jnp.asarray(mask))) for mask in (targets.mask, targets.has_number)))


def policy_weights(
    experience: Experience, *, mode: str = "token-mean", scale: int, reference_weight: float = 0.0
) -> TokenWeights:
    """The weight of each token in the loss of an update; a digit's NTL weighs what a token's loss does.

    Args:
        experience: all rows of the update, one response each, on the host.
        mode: of aggregation.
        scale: longest response, for seq-mean-token-sum-norm.
        reference_weight: of the divergence from the reference policy, where the experience has its log-probs.
    """
    weights = np.asarray(token_weights(jnp.asarray(experience.mask), mode=mode, scale=scale))
    numbers = np.where(experience.targets.has_number, weights, np.float32(0))
    has_reference = experience.reference_log_probs is not None
    return TokenWeights(weights, numbers, np.float32(reference_weight) * weights if has_reference else None)
