# SPDX-License-Identifier: Apache-2.0
"""From ragged prompts and responses to the rectangular rows of a TrainBatch, in few shapes."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool

from ntl_jax.losses import token_weights
from ntl_jax.records import HostOrDevice, TrainBatch

NUM_BUCKETS = 4  # shapes between a quarter of the longest row and the longest: compilations are bounded by it
ROUND_TO = 8  # lengths are multiples of it: whole vector registers, whole tiles


@dataclasses.dataclass(frozen=True)
class RowShape:
    """Longest row S and longest response T that a stage can meet; batches are padded to quarters of both.

    Example:
        >>> shape = RowShape(row=96, response=64)
        >>> shape.bucket(row=50, response=20), shape.bucket(row=50, response=60)
        ((72, 48), (96, 64))
    """

    row: int
    response: int

    def bucket(self, row: int, response: int) -> tuple[int, int]:
        """The smallest padded (S, T) that holds rows and responses of these lengths."""
        assert row <= self.row and response <= self.response, f"({row}, {response}) exceeds {self}"
        for quarter in range(1, NUM_BUCKETS + 1):
            share = quarter / NUM_BUCKETS
            row_size, response_size = _round_up(share * self.row), _round_up(share * self.response)
            if row <= row_size and response <= response_size:
                return row_size, response_size
        raise AssertionError("the last bucket holds everything")


def pad_rows(
    prompts: Sequence[np.ndarray],
    responses: Sequence[np.ndarray],
    shape: RowShape,
    *,
    number_targets: Sequence[np.ndarray],
    keep: np.ndarray | None = None,
) -> TrainBatch:
    """One row per prompt and response, on the host; what an algorithm adds is ``None`` until it adds it.

    Args:
        prompts: ids of each prompt.
        responses: ids of each response, at least one token.
        shape: bounds of both.
        number_targets: true value at each response token, NaN where there is none.
        keep: [B] bool; a row that is not kept has an empty mask.
    """
    num_rows = len(prompts)
    lengths = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    row_size, response_size = shape.bucket(max(lengths), max(map(len, responses)))
    tokens = np.zeros((num_rows, row_size), np.int32)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        tokens[row, : lengths[row]] = np.concatenate([prompt, response])
    first = np.array([len(p) - 1 for p in prompts])[:, None]
    steps = np.arange(response_size)[None, :]
    mask = steps < np.array([len(r) for r in responses])[:, None]
    return TrainBatch(
        tokens=tokens,
        positions=np.broadcast_to(np.arange(row_size, dtype=np.int32), tokens.shape),
        segment_ids=None,
        predictors=np.where(mask, first + steps, 0).astype(np.int32),
        targets=pad_tokens(responses, response_size, 0, np.int32),
        mask=mask if keep is None else mask & keep[:, None],
        number_targets=pad_tokens(number_targets, response_size, np.nan, np.float32),
    )


def pad_tokens(rows: Sequence[np.ndarray], size: int, fill: float, dtype: type) -> np.ndarray:
    """[B, size] of ragged per-token values."""
    padded = np.full((len(rows), size), fill, dtype)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return padded


def take_rows(batch: TrainBatch, rows: np.ndarray) -> TrainBatch:
    """Some rows of a batch."""
    return jax.tree.map(lambda x: x[rows], batch)


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


def has_weight(batch: TrainBatch) -> bool:
    """Whether an update has any weight other than 0: of a token, of its number or of its divergence."""
    return any(x is not None and x.any() for x in (batch.weights, batch.number_weights, batch.reference_weights))


def _round_up(size: float) -> int:
    return -int(-size // ROUND_TO) * ROUND_TO
