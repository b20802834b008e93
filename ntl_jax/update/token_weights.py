# SPDX-License-Identifier: Apache-2.0
"""The weight of each token in an update's loss. Weights include the denominators, so parts add up."""

import jax
import numpy as np

from ntl_jax.losses import token_weights
from ntl_jax.records import Experience, Targets, TokenWeights

_token_weights = jax.jit(token_weights, static_argnames=("mode", "scale"))
"""One program: operation by operation there would be seven to compile for each shape."""


def supervised_weights(targets: Targets) -> TokenWeights:
    """Weights for two means: cross entropy over all tokens, NTL over tokens with a true number."""
    return TokenWeights(*(np.asarray(_token_weights(mask)) for mask in (targets.mask, targets.has_number)))


def policy_weights(
    experience: Experience, *, mode: str = "token-mean", scale: int, reference_weight: float = 0.0
) -> TokenWeights:
    """The weight of each token in an update's loss; a digit's NTL weighs as much as a token's loss.

    Args:
        experience: all rows of the update, one response each, on the host.
        mode: aggregation mode.
        scale: longest response, for seq-mean-token-sum-norm.
        reference_weight: weight of the divergence from the reference policy, if the experience has its log-probs.
    """
    weights = np.asarray(_token_weights(experience.mask, mode=mode, scale=scale))
    numbers = np.where(experience.targets.has_number, weights, np.float32(0))
    has_reference = experience.reference_log_probs is not None
    return TokenWeights(weights, numbers, np.float32(reference_weight) * weights if has_reference else None)
