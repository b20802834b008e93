# SPDX-License-Identifier: Apache-2.0
"""The weight of each token in the loss of an update; the denominators are in the weights, so parts add up."""

import numpy as np
from jaxtyping import Bool

from ntl_jax.losses import token_weights
from ntl_jax.records import HostOrDevice, TrainBatch


def has_number(batch: TrainBatch) -> Bool[HostOrDevice, "B T"]:
    """Tokens that count and have a true number."""
    return batch.mask & ~np.isnan(batch.number_targets)


def weighed(batch: TrainBatch, *, mode: str = "token-mean", scale: int, reference_weight: float = 0.0) -> TrainBatch:
    """Rows of one update with the weight of each token in its loss; a digit's NTL weighs what a token's loss does.

    Args:
        batch: all rows of the update, one response each, on the host.
        mode: of aggregation.
        scale: longest response, for seq-mean-token-sum-norm.
        reference_weight: of the divergence from the reference policy, where the batch has its log-probs.
    """
    weights = np.asarray(token_weights(batch.mask, mode=mode, scale=scale))
    number_weights = np.where(has_number(batch), weights, np.float32(0))
    batch = batch._replace(weights=weights, number_weights=number_weights)
    if batch.reference_log_probs is None:
        return batch
    return batch._replace(reference_weights=np.float32(reference_weight) * weights)
