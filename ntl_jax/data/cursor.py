# SPDX-License-Identifier: Apache-2.0
"""The order in which rows are drawn: one seeded permutation an epoch, resumable at any batch."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int


class DataCursor:
    """Draws batches of row numbers; every epoch holds each row once, and its tail fills up with the next epoch's head.

    Args:
        num_rows: rows of the data set.
        batch_size: rows of a batch.
        seed: of the permutations; that of an epoch depends on nothing else but its number.

    Raises:
        ValueError: when there are no rows, or the batch is empty.

    Example:
        >>> cursor = DataCursor(num_rows=6, batch_size=4, seed=0)
        >>> first, second, third = cursor.next(), cursor.next(), cursor.next()
        >>> sorted(np.concatenate([first, second[:2]]).tolist())
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, num_rows: int, batch_size: int, seed: int) -> None:
        if num_rows < 1 or batch_size < 1:
            raise ValueError(f"num_rows={num_rows} and batch_size={batch_size} must both be at least 1")
        self._num_rows, self._batch_size, self._seed = num_rows, batch_size, seed
        self._position = 0
        self._permuted = (-1, np.empty(0, np.int64))

    def next(self) -> Int[np.ndarray, "B"]:
        """The next batch of row numbers."""
        return self.next_of_epochs()[1]

    def next_of_epochs(self) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"]]:
        """The next batch: the epoch of each row, and the row indices.

        Example: four rows, batches of three; the second batch ends the first epoch
            >>> cursor = DataCursor(num_rows=4, batch_size=3, seed=0)
            >>> cursor.next_of_epochs()[0].tolist(), cursor.next_of_epochs()[0].tolist()
            ([0, 0, 0], [0, 1, 1])
        """
        positions = np.arange(self._position, self._position + self._batch_size)
        self._position += self._batch_size
        epochs, offsets = positions // self._num_rows, positions % self._num_rows
        rows = [self._permutation(epoch)[offsets[epochs == epoch]] for epoch in np.unique(epochs).tolist()]
        return epochs, np.concatenate(rows)

    def state(self) -> dict[str, int]:
        """What ``restore`` needs, as plain integers."""
        return {"num_rows": self._num_rows, "seed": self._seed, "position": self._position}

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes on where the cursor that gave the state stood.

        Raises:
            ValueError: when the state is of another data set or seed.
        """
        for name, value in (("num_rows", self._num_rows), ("seed", self._seed)):
            if state[name] != value:
                raise ValueError(
                    f"the saved data cursor has {name}={state[name]}, this run {name}={value}: "
                    "resume with the data and seed that the run began with"
                )
        self._position = state["position"]

    def _permutation(self, epoch: int) -> Int[np.ndarray, "N"]:
        if self._permuted[0] != epoch:
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, epoch])))
            self._permuted = epoch, rng.permutation(self._num_rows)
        return self._permuted[1]
