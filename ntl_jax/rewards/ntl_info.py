# SPDX-License-Identifier: Apache-2.0
"""The NTL record of a batch: how far the digits that were sampled from lay from the true ones."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntl_jax.losses import number_token_mse, number_token_wasserstein
from ntl_jax.numerals import DigitLabels
from ntl_jax.records import NTLInfo

Method = Literal["mse", "wasserstein"]

# The largest loss a digit can have, which a missing or surplus place costs.
MAX_LOSS = {"mse": 81.0, "wasserstein": 9.0}
# Digits are padded to powers of two from here on, so that batches share a few compiled programs.
_SMALLEST_BUCKET = 256


def build_ntl_info(
    digit_log_probs: Sequence[Float[np.ndarray, "T 10"]],
    labels: Sequence[DigitLabels],
    texts: Sequence[str],
    *,
    method: Method = "mse",
) -> NTLInfo:
    """Gathers the captured log-probs and the labels of B responses into one record.

    ``ntl_loss`` of a response is the mean over its digits with truth and its missing and surplus places, the latter two
    at the largest possible loss; inf where it has none of them.

    Args:
        digit_log_probs: of each response, the log-probs of the ten digits at every position, as sampled from.
        labels: of each response, see `ntl_jax.numerals.label_final_answer`.
        texts: the responses.
        method: squared error of the expected digit, or Wasserstein-1 distance to the true one.

    Returns:
        The record, padded to the longest response.

    Raises:
        ValueError: an unknown method, or inputs that do not belong together.

    Example: the policy was sure of its 7 and 6 where 7 and 2 were due: errors of 0 and 16.
        >>> sure = np.where(np.arange(10) == [[7], [6]], 0.0, -30.0).astype(np.float32)
        >>> label = DigitLabels(np.array([7, 6]), np.array([7, 2]), np.zeros(2, bool), 0, np.array([7, 2]))
        >>> build_ntl_info([sure], [label], ["76"]).ntl_loss.round(4).tolist()
        [8.0]
    """
    if method not in MAX_LOSS:
        raise ValueError(f"method={method!r}: one of {sorted(MAX_LOSS)} is needed")
    shapes = [row.shape for row in digit_log_probs]
    expected = [(len(label.digits), 10) for label in labels]
    if shapes != expected or len(texts) != len(labels):
        raise ValueError(
            f"{len(texts)} texts and digit_log_probs of shapes {shapes[:3]}... do not belong to labels for which "
            f"{expected[:3]}... are needed: pass the three of the same responses in the same order"
        )
    batch, length = len(labels), max((len(label.digits) for label in labels), default=0)

    def padded(rows: Sequence[np.ndarray], fill: float, dtype: type, width: tuple[int, ...] = ()) -> np.ndarray:
        out = np.full((batch, length, *width), fill, dtype)
        for b, row in enumerate(rows):
            out[b, : len(row)] = row
        return out

    digits = padded([label.digits for label in labels], -1, np.int8)
    truth = padded([label.truth for label in labels], -1, np.int8)
    surplus = padded([label.surplus for label in labels], False, bool)
    missing = np.array([label.missing_places for label in labels], np.int32)
    log_probs = padded(digit_log_probs, 0.0, np.float32, (10,))
    sampled = np.take_along_axis(log_probs, np.maximum(digits, 0)[..., None].astype(np.int64), axis=-1)[..., 0]
    return NTLInfo(
        digit_log_probs=log_probs,
        is_digit=digits >= 0,
        digit_ground_truth=truth,
        surplus=surplus,
        missing_places=missing,
        digit_log_probs_selected=np.where(digits >= 0, sampled, np.float32(0)),
        ntl_loss=_mean_losses(log_probs, truth, surplus.sum(axis=1) + missing, method),
        sequence_strings=tuple(texts),
        method=method,
    )


def _mean_losses(log_probs: np.ndarray, truth: np.ndarray, unmatched: np.ndarray, method: Method) -> np.ndarray:
    rows, columns = np.nonzero(truth >= 0)
    size = max(_SMALLEST_BUCKET, 1 << (len(rows) - 1).bit_length()) if len(rows) else _SMALLEST_BUCKET
    logits, targets = np.zeros((size, 10), np.float32), np.full(size, np.nan, np.float32)
    logits[: len(rows)], targets[: len(rows)] = log_probs[rows, columns], truth[rows, columns]
    losses = np.asarray(_LOSSES[method](logits, targets))[: len(rows)]
    total = np.bincount(rows, losses, minlength=len(truth)) + MAX_LOSS[method] * unmatched
    places = np.bincount(rows, minlength=len(truth)) + unmatched
    return np.where(places > 0, total / np.maximum(places, 1), np.inf).astype(np.float32)


@jax.jit
def _mse(logits: Float[Array, "K 10"], targets: Float[Array, "K"]) -> Float[Array, "K"]:
    return number_token_mse(logits, targets, jnp.arange(10.0))


@jax.jit
def _wasserstein(logits: Float[Array, "K 10"], targets: Float[Array, "K"]) -> Float[Array, "K"]:
    return number_token_wasserstein(logits, targets, jnp.arange(10.0))


_LOSSES = {"mse": _mse, "wasserstein": _wasserstein}
