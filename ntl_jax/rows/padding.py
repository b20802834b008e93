# SPDX-License-Identifier: Apache-2.0
"""From ragged prompts and responses to rectangular rows, in few shapes."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ntl_jax.records import Rows, SharedRows, Targets

NUM_BUCKETS = 4  # shapes between a quarter of the longest row and the longest: bounds compilations
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

    def shared_bucket(self, prompt: int, response: int) -> tuple[int, int]:
        """The smallest padded (P, T) that holds prompts and responses of these lengths, each in quarters of its own."""
        longest = RowShape(row=self.row - self.response, response=self.response)
        return longest.bucket(prompt, 0)[0], longest.bucket(0, response)[1]


def pad_rows(
    prompts: Sequence[np.ndarray],
    responses: Sequence[np.ndarray],
    shape: RowShape,
    *,
    numbers: Sequence[np.ndarray],
    keep: np.ndarray | None = None,
) -> tuple[Rows, Targets]:
    """One row per prompt and response, on the host.

    Args:
        prompts: ids of each prompt.
        responses: ids of each response, at least one token.
        shape: bounds of rows and responses.
        numbers: true value at each response token, NaN for none.
        keep: [B] bool; a row that is not kept has an empty mask.

    Example:
        >>> prompts, responses, shape = [np.array([5, 6])], [np.array([1, 2])], RowShape(8, 8)
        >>> rows, targets = pad_rows(prompts, responses, shape, numbers=[np.array([np.nan, 2.0])])
        >>> rows.tokens.tolist(), rows.predictors[0, :2].tolist(), targets.ids[0, :2].tolist()
        ([[5, 6, 1, 2, 0, 0, 0, 0]], [1, 2], [1, 2])
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
    rows = Rows(
        tokens=tokens,
        positions=np.broadcast_to(np.arange(row_size, dtype=np.int32), tokens.shape),
        segment_ids=None,
        predictors=np.where(mask, first + steps, 0).astype(np.int32),
    )
    return rows, pad_targets(responses, response_size, numbers=numbers, keep=keep)


def share_rows(
    prompts: Sequence[np.ndarray],
    responses: Sequence[np.ndarray],
    shape: RowShape,
    samples_per_row: int,
    *,
    numbers: Sequence[np.ndarray],
    keep: np.ndarray | None = None,
) -> tuple[SharedRows, Targets]:
    """One row per prompt with ``samples_per_row`` of its responses, on the host.

    Args:
        prompts: ids of each response's prompt; responses to one prompt follow each other.
        samples_per_row: divides the number of responses to each prompt.
        responses, shape, numbers, keep: as in `pad_rows`.

    Example:
        >>> prompts, responses = [np.array([5, 6])] * 2, [np.array([1, 2]), np.array([3, 4])]
        >>> rows, targets = share_rows(prompts, responses, RowShape(16, 8), 2, numbers=[np.full(2, np.nan)] * 2)
        >>> rows.prompts.tolist(), rows.responses[0, :, :3].tolist(), targets.ids[:, :3].tolist()
        ([[0, 0, 0, 0, 0, 0, 5, 6]], [[1, 2, 0], [3, 4, 0]], [[1, 2, 0], [3, 4, 0]])
    """
    of_rows, lengths = prompts[::samples_per_row], np.array([len(r) for r in responses], np.int32)
    assert all(np.array_equal(p, of_rows[i // samples_per_row]) for i, p in enumerate(prompts)), "rows mix prompts"
    prompt_size, response_size = shape.shared_bucket(max(map(len, of_rows)), int(lengths.max()))
    padded = np.zeros((len(of_rows), prompt_size), np.int32)
    for row, prompt in enumerate(of_rows):
        padded[row, prompt_size - len(prompt) :] = prompt
    targets = pad_targets(responses, response_size, numbers=numbers, keep=keep)
    rows = SharedRows(
        prompts=padded,
        prompt_lengths=np.array([len(p) for p in of_rows], np.int32),
        responses=targets.ids.reshape(len(of_rows), samples_per_row, response_size),
        response_lengths=lengths.reshape(len(of_rows), samples_per_row),
    )
    return rows, targets


def pad_targets(
    responses: Sequence[np.ndarray], size: int, *, numbers: Sequence[np.ndarray], keep: np.ndarray | None
) -> Targets:
    """The targets of padded responses; arguments as in `pad_rows`."""
    mask = np.arange(size)[None, :] < np.array([len(r) for r in responses])[:, None]
    return Targets(
        ids=pad_tokens(responses, size, 0, np.int32),
        mask=mask if keep is None else mask & keep[:, None],
        numbers=pad_tokens(numbers, size, np.nan, np.float32),
    )


def pad_tokens(rows: Sequence[np.ndarray], size: int, fill: float, dtype: type) -> np.ndarray:
    """[B, size] of ragged per-token values."""
    padded = np.full((len(rows), size), fill, dtype)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return padded


def _round_up(size: float) -> int:
    return -int(-size // ROUND_TO) * ROUND_TO
