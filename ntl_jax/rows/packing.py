# SPDX-License-Identifier: Apache-2.0
"""Packs short sequences into one row: less padding. Each sequence attends only to itself and has its own positions."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from ntl_jax.records import AnyRows, Batch, Rows, SharedRows
from ntl_jax.records.batch import Tokens

NUM_SIZES = 8  # distinct numbers of packed rows for one number of sequences: bounds compilations


class Places(NamedTuple):
    """Where each sequence goes: row, number in the row from 1, first position and first response token."""

    row: Int[np.ndarray, "B"]
    segment: Int[np.ndarray, "B"]
    position: Int[np.ndarray, "B"]
    token: Int[np.ndarray, "B"]


def sequence_lengths(rows: Rows) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"]]:
    """Number of tokens, and of response tokens, in each unpacked row, whether they count or not."""
    last, first = np.max(rows.predictors, axis=1), np.asarray(rows.predictors)[:, 0]
    return last + 2, last - first + 1


def padding_fraction(rows: AnyRows) -> float:
    """Share of positions that are padding."""
    if isinstance(rows, SharedRows):
        return 1.0 - float(rows.prompt_lengths.sum() + rows.response_lengths.sum()) / np.prod(rows.shape)
    if rows.segment_ids is None:
        return 1.0 - float(sequence_lengths(rows)[0].sum()) / rows.tokens.size
    return float(np.mean(rows.segment_ids == 0))


def pack(batch: Batch[Tokens], multiple_of: int = 1) -> Batch[Tokens]:
    """The same sequences in fewer rows of the same size, without sequences in which no token counts.

    Weights move with their tokens, so losses and gradients are unchanged. Sequences are placed longest first, each in
    the first row with room. The number of rows is rounded up to eighths of the number of sequences.

    Args:
        batch: unpacked rows of an update, on the host.
        multiple_of: the number of rows is a multiple of it: the number of shards.

    Example: a row of eight holds a prompt of two tokens with a response of one, and a prompt of one with a response of
        two
        >>> from ntl_jax.records import TokenWeights
        >>> from ntl_jax.rows.padding import RowShape, pad_rows
        >>> prompts, responses = [np.array([5, 6]), np.array([7])], [np.array([1]), np.array([2, 3])]
        >>> nothing = [np.full(1, np.nan), np.full(2, np.nan)]
        >>> rows, targets = pad_rows(prompts, responses, RowShape(8, 8), numbers=nothing)
        >>> packed = pack(Batch(rows, targets, TokenWeights(targets.mask / 3, np.zeros((2, 8)))))
        >>> packed.rows.tokens.tolist(), packed.rows.segment_ids.tolist()
        ([[5, 6, 1, 7, 2, 3, 0, 0]], [[1, 1, 1, 2, 2, 2, 0, 0]])
        >>> packed.tokens.ids[0, :3].tolist(), packed.rows.predictors[0, :3].tolist()
        ([1, 2, 3], [1, 3, 4])
    """
    rows, mask = batch.rows, batch.tokens.mask
    assert isinstance(rows, Rows), "rows that share a prompt cannot be packed"
    counts = np.any(mask, axis=1)
    row_lengths, response_lengths = (np.where(counts, lengths, 0) for lengths in sequence_lengths(rows))
    places = _place(row_lengths, response_lengths, rows.tokens.shape[1], mask.shape[1])
    unit = -(-len(counts) // (NUM_SIZES * multiple_of)) * multiple_of
    num_rows = -(-int(places.row.max() + 1) // unit) * unit

    def move(x: np.ndarray, lengths: np.ndarray, starts: np.ndarray) -> np.ndarray:
        row, step = np.nonzero(np.arange(x.shape[1])[None, :] < lengths[:, None])
        packed = np.zeros((num_rows, x.shape[1]), x.dtype)
        packed[places.row[row], starts[row] + step] = x[row, step]
        return packed

    def move_positions(x: np.ndarray) -> np.ndarray:
        return move(x, row_lengths, places.position)

    def move_tokens(x: np.ndarray) -> np.ndarray:
        return move(x, response_lengths, places.token)

    packed = Rows(
        tokens=move_positions(np.asarray(rows.tokens)),
        positions=move_positions(np.asarray(rows.positions)),
        segment_ids=move_positions(np.broadcast_to(places.segment[:, None], rows.tokens.shape)),
        predictors=move_tokens(np.asarray(rows.predictors) + places.position[:, None]),
    )
    return Batch(packed, *jax.tree.map(move_tokens, (batch.tokens, batch.weights)))


def _place(
    row_lengths: Int[np.ndarray, "B"], response_lengths: Int[np.ndarray, "B"], row_size: int, response_size: int
) -> Places:
    """First fit, longest first; a row must have room for positions and for response tokens."""
    num_sequences = len(row_lengths)
    places = Places(*(np.zeros(num_sequences, np.int32) for _ in Places._fields))
    positions, tokens, segments = (np.zeros(num_sequences, np.int32) for _ in range(3))  # used so far, by row
    for i in np.argsort(-row_lengths, kind="stable"):
        fits = (positions + row_lengths[i] <= row_size) & (tokens + response_lengths[i] <= response_size)
        row = np.argmax(fits)
        segments[row] += 1
        for field, value in zip(places, (row, segments[row], positions[row], tokens[row]), strict=True):
            field[i] = value
        positions[row] += row_lengths[i]
        tokens[row] += response_lengths[i]
    return places
