# SPDX-License-Identifier: Apache-2.0
"""The NTL record of a batch: how far the digit distributions lie from the true digits.

There are three ways to build it: from the log-probs of the ten digits; from the readings of the trainer's own pass (the
only way for multi-digit tokens); or from the log-probs of the sampled tokens alone, which tell how sure the policy was,
not how right.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ntl_jax.experience.digits.numpy_losses import read_digits
from ntl_jax.losses.numbers import MAX_LOSS, Method
from ntl_jax.numerals import DigitLabels
from ntl_jax.records import NTLInfo, NumberReadings

CONFIDENCE = "simplified_from_rollout_log_probs"
"""The record's ``method`` where only the sampled tokens' log-probs are available."""


def build_ntl_info(
    digit_log_probs: Sequence[Float[np.ndarray, "T 10"]],
    labels: Sequence[DigitLabels],
    texts: Sequence[str],
    *,
    method: Method = "mse",
) -> NTLInfo:
    """Gathers the log-probs of the ten digits and the labels of B responses into one record.

    A response's ``ntl_loss`` is the mean over its digits with truth and over its missing and surplus places, which have
    the largest possible loss. It is inf, so there is no partial reward, if there are none of these or no answer.

    Args:
        digit_log_probs: for each response, the log-probs of the ten digits at every position, as sampled from.
        labels: for each response, see `ntl_jax.numerals.label_response`.
        texts: the responses.
        method: squared error of the expected digit, or Wasserstein-1 distance to the true digit.

    Returns:
        The record, padded to the longest response.

    Raises:
        ValueError: for an unknown method, or inputs that do not belong together.

    Example: the policy is sure of 7 and 6, the truth is 7 and 2: errors of 0 and 16.
        >>> from ntl_jax.numerals import find_answer, label_response
        >>> sure = np.where(np.arange(10) == [[0], [7], [6]], 0.0, -30.0).astype(np.float32)
        >>> digits = np.array([-1, 7, 6])
        >>> label = label_response("#### 76", np.array([0, 5, 6]), digits, "72", answer=find_answer("#### 76"))
        >>> build_ntl_info([sure], [label], ["#### 76"]).ntl_loss.round(4).tolist()
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
    digits, truth = (_padded([getattr(label, name) for label in labels], -1) for name in ("digits", "truth"))
    log_probs = _padded(digit_log_probs, 0.0)
    sampled = np.take_along_axis(log_probs, np.maximum(digits, 0)[..., None].astype(np.int64), axis=-1)[..., 0]
    return _record(labels, texts, _read_sampled(log_probs, digits, truth, method), sampled, log_probs, method)


def number_ntl_info(
    readings: Sequence[NumberReadings],
    rollout_log_probs: Sequence[Float[np.ndarray, "T"]],
    labels: Sequence[DigitLabels],
    texts: Sequence[str],
    *,
    method: Method = "mse",
) -> NTLInfo:
    """The record for multi-digit tokens, from the readings at every position; see `build_ntl_info`.

    Args:
        readings: arrays [T] for each response, with losses on the scale of one digit.
        rollout_log_probs: log-probs of each response's sampled tokens.
        labels, texts, method: as in `build_ntl_info`.
    """
    by_name = [_padded(rows, 0.0) for rows in zip(*readings, strict=True)]
    return _record(labels, texts, NumberReadings(*by_name), _padded(rollout_log_probs, 0.0), None, method)


def confidence_ntl_info(
    rollout_log_probs: Sequence[Float[np.ndarray, "T"]], labels: Sequence[DigitLabels], texts: Sequence[str]
) -> NTLInfo:
    """The record without digit distributions: ``ntl_loss = -mean log P(sampled digit)``, and no truth.

    ``ntl_loss`` is inf if a response has no digit or gives no answer.

    Args:
        rollout_log_probs: log-probs of each response's sampled tokens.
        labels, texts: as in `build_ntl_info`.

    Example: three digits with log-probs -0.05, -0.1 and -0.2
        >>> from ntl_jax.numerals import find_answer, label_response
        >>> label = label_response("186", np.arange(3), np.array([1, 8, 6]), "186", answer=find_answer("186"))
        >>> confidence_ntl_info([np.array([-0.05, -0.1, -0.2])], [label], ["186"]).ntl_loss.round(5).tolist()
        [0.11667]
    """
    unknown = [
        blank_labels(len(label.digits))._replace(digits=label.digits, is_answer=label.is_answer) for label in labels
    ]
    has_answer = np.array([label.has_answer for label in labels], bool)
    sampled = _padded(rollout_log_probs, 0.0)
    nothing = NumberReadings(*(np.zeros_like(sampled) for _ in NumberReadings._fields))
    info = _record(unknown, texts, nothing, sampled, None, "mse")
    ntl_loss = np.where(has_answer, -info.avg_digit_log_prob, np.inf)
    return dataclasses.replace(info, method=CONFIDENCE, ntl_loss=ntl_loss)


def blank_labels(length: int) -> DigitLabels:
    """Labels of a response without digits and without truth."""
    none, no = np.full(length, -1, np.int32), np.zeros(length, bool)
    return DigitLabels(none, none, no, 0, none, no, 0)


def _record(
    labels: Sequence[DigitLabels],
    texts: Sequence[str],
    readings: NumberReadings,
    sampled: Float[np.ndarray, "B T"],
    digit_log_probs: Float[np.ndarray, "B T 10"] | None,
    method: Method,
) -> NTLInfo:
    digits, truth = (_padded([getattr(label, name) for label in labels], -1) for name in ("digits", "truth"))
    surplus, is_answer = (_padded([getattr(label, name) for label in labels], 0) for name in ("surplus", "is_answer"))
    missing, missing_answer = (
        np.array([getattr(label, name) for label in labels], np.int32)
        for name in ("missing_places", "missing_answer_places")
    )
    is_digit, has_truth = digits >= 0, truth >= 0
    unmatched = surplus.sum(axis=1) + missing
    losses = np.where(has_truth, readings.loss, np.float32(0))
    total = losses.sum(axis=1, dtype=np.float64) + MAX_LOSS[method] * unmatched
    places = has_truth.sum(axis=1) + unmatched
    has_loss = (places > 0) & np.array([label.has_answer for label in labels], bool)
    return NTLInfo(
        digit_log_probs=digit_log_probs,
        digit_values=digits,
        digit_ground_truth=truth,
        surplus=surplus,
        is_answer=is_answer,
        missing_places=missing,
        missing_answer_places=missing_answer,
        digit_log_probs_selected=np.where(is_digit, sampled, np.float32(0)),
        predicted=np.where(is_digit, readings.predicted, -1).astype(np.int32),
        top_probability=np.where(is_digit, readings.top_probability, np.float32(0)),
        truth_probability=np.where(has_truth, readings.truth_probability, np.float32(0)),
        digit_losses=losses,
        ntl_loss=np.where(has_loss, total / np.maximum(places, 1), np.inf).astype(np.float32),
        sequence_strings=tuple(texts),
        method=method,
    )


def _padded(rows: Sequence[np.ndarray], fill: float) -> np.ndarray:
    """[B, T, *] of ragged rows [T, *]."""
    length = max(map(len, rows), default=0)
    first = rows[0] if rows else np.zeros(0)
    out = np.full((len(rows), length, *first.shape[1:]), fill, first.dtype)
    for b, row in enumerate(rows):
        out[b, : len(row)] = row
    return out


def _read_sampled(log_probs: np.ndarray, digits: np.ndarray, truth: np.ndarray, method: Method) -> NumberReadings:
    """The readings of the ten digits at the sampled digits; zeros elsewhere."""
    at = np.nonzero(digits >= 0)
    readings = read_digits(log_probs[at], truth[at], method=method)

    def placed(values: np.ndarray) -> np.ndarray:
        whole = np.zeros(digits.shape, values.dtype)
        whole[at] = values
        return whole

    return NumberReadings(*map(placed, map(np.asarray, readings)))
