# SPDX-License-Identifier: Apache-2.0
"""Loss, most likely digit and probabilities at a position, from the log-probs of the ten digits, on the host.

The results equal those of `ntl_jax.losses` up to float32 rounding. An iteration has only a few thousand digits, too few
to be worth a trip to the device.
"""

import numpy as np
from jaxtyping import Float, Int

from ntl_jax.losses.numbers import MAX_LOSS, Method
from ntl_jax.records import NumberReadings

DIGITS = np.arange(10.0)


def read_digits(
    digit_log_probs: Float[np.ndarray, "K 10"], truth: Int[np.ndarray, "K"], *, method: Method
) -> NumberReadings:
    """The loss, and the shares of the most likely and of the true digit in the ten digits' probability.

    Args:
        digit_log_probs: probabilities need not add up to 1; computed in float64. Where all are 0, the loss is maximal
            and the shares are equal.
        truth: the true digit, or -1 for none, where the loss and the true digit's share are 0.
        method: squared error of the expected digit, Wasserstein-1 distance to the true digit, or squared error of the
            expected value over the whole vocabulary.

    Example: the truth is 5, and 6 is three times as likely: (5.75 - 5)^2
        >>> log_probs = np.full((1, 10), -30.0); log_probs[0, 5:7] = np.log([0.25, 0.75])
        >>> readings = read_digits(log_probs, np.array([5]), method="mse")
        >>> readings.loss.round(4).tolist(), readings.predicted.tolist(), readings.truth_probability.round(4).tolist()
        ([0.5625], [6], [0.25])
    """
    logits = digit_log_probs.astype(np.float64)
    peaks = logits.max(axis=-1, keepdims=True, initial=-np.inf)
    impossible = np.isneginf(peaks)
    weights = np.where(impossible, 1.0, np.exp(logits - np.where(impossible, 0.0, peaks)))
    probs = weights / weights.sum(axis=-1, keepdims=True)
    match method:
        case "mse":
            losses = np.square((probs * DIGITS).sum(axis=-1) - truth)  # not @, whose rounding depends on K
        case "wasserstein":
            losses = (probs * np.abs(DIGITS - truth[:, None])).sum(axis=-1)
        case "raft":
            losses = np.square((np.exp(logits) * DIGITS).sum(axis=-1) - truth)
    losses = np.where(impossible[:, 0], MAX_LOSS[method], losses)
    has_truth = truth >= 0
    at_truth = np.take_along_axis(probs, np.maximum(truth, 0)[:, None].astype(np.int64), axis=-1)[:, 0]
    return NumberReadings(
        loss=np.where(has_truth, losses, 0.0).astype(np.float32),
        predicted=probs.argmax(axis=-1).astype(np.int32),
        top_probability=probs.max(axis=-1, initial=0.0).astype(np.float32),
        truth_probability=np.where(has_truth, at_truth, 0.0).astype(np.float32),
    )
