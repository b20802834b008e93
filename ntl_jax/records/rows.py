# SPDX-License-Identifier: Apache-2.0
"""Rectangular rows of prompts and responses, as a model reads them."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int

HostOrDevice = Any  # numpy while a batch is built, JAX in the step


class TrainBatch(NamedTuple):
    """Rows for one update; arrays with T refer to the predicted positions. Fields that are not needed are None.

    A row is a prompt and its response, padded on the right, or several of these packed: ``segment_ids`` then number
    them from 1, with 0 for padding, and ``positions`` start at 0 in each. ``predictors[b, t]`` is the position in the
    row whose hidden state predicts ``targets[b, t]``: only these go through the vocabulary head. Everything is defined
    by ``mask``, never by a pad id. ``number_targets`` is the true value of the number token there, NaN without one.
    Losses are sums over tokens with ``weights``, which include the denominators (NTL, reference: own weights).

    Example: the row of the prompt ``2+3?`` with ``#### 6`` (S = 8, T = 3); the digit should have been 5
        tokens [7, 11, 8, 12, 20, 6, 1, 0], positions [0, 1, 2, 3, 4, 5, 6, 7], predictors [3, 4, 5]
        targets [20, 6, 1], mask [True, True, True], number_targets [nan, 5, nan]
    """

    tokens: Int[HostOrDevice, "B S"]
    positions: Int[HostOrDevice, "B S"]
    segment_ids: Int[HostOrDevice, "B S"] | None
    predictors: Int[HostOrDevice, "B T"]
    targets: Int[HostOrDevice, "B T"]
    mask: Bool[HostOrDevice, "B T"]
    number_targets: Float[HostOrDevice, "B T"]
    weights: Float[HostOrDevice, "B T"] | None = None
    number_weights: Float[HostOrDevice, "B T"] | None = None
    old_log_probs: Float[HostOrDevice, "B T"] | None = None
    advantages: Float[HostOrDevice, "B T"] | None = None
    correction_weights: Float[HostOrDevice, "B T"] | None = None
    reference_log_probs: Float[HostOrDevice, "B T"] | None = None
    reference_weights: Float[HostOrDevice, "B T"] | None = None
    old_values: Float[HostOrDevice, "B T"] | None = None
    returns: Float[HostOrDevice, "B T"] | None = None
