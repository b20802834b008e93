# SPDX-License-Identifier: Apache-2.0
"""The order in which rows are drawn: one seeded permutation an epoch, resumable at any batch.

With weights, each source has permutations and epochs of its own, and draws of the sources alternate: after any number
of draws, each source has its share of them, to within one draw or two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int


class DataCursor:
    """Draws batches of row numbers; every epoch holds each row once, and its tail fills up with the next epoch's head.

    Args:
        num_rows: rows of the data set.
        batch_size: rows of a batch.
        seed: of the permutations; that of an epoch depends on nothing else but its number and the source.
        source_indices: source of each row, from 0; None: one source.
        weights: shares of draws by source, of any sum; empty: all rows are one source.

    Raises:
        ValueError: when there are no rows, a weighted source has none, or the batch is empty.

    Example:
        >>> cursor = DataCursor(num_rows=6, batch_size=4, seed=0)
        >>> first, second, third = cursor.next(), cursor.next(), cursor.next()
        >>> sorted(np.concatenate([first, second[:2]]).tolist())
        [0, 1, 2, 3, 4, 5]
        >>> weighted = DataCursor(num_rows=6, batch_size=4, seed=0, source_indices=[0, 0, 0, 0, 0, 1], weights=(1, 3))
        >>> [int((weighted.next() == 5).sum()) for _ in range(3)]
        [3, 3, 3]
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        seed: int,
        *,
        source_indices: Sequence[int] | None = None,
        weights: Sequence[float] = (),
    ) -> None:
        if num_rows < 1 or batch_size < 1:
            raise ValueError(f"num_rows={num_rows} and batch_size={batch_size} must both be at least 1")
        self._num_rows, self._batch_size, self._seed = num_rows, batch_size, seed
        self._weights = np.asarray(weights or (1.0,), np.float64)
        self._weights /= self._weights.sum()
        of_row = (
            np.asarray(source_indices, np.int64)
            if weights and source_indices is not None
            else np.zeros(num_rows, np.int64)
        )
        self._rows = [np.flatnonzero(of_row == source) for source in range(len(self._weights))]
        """Rows of each source."""
        if empty := [source for source, rows in enumerate(self._rows) if not len(rows)]:
            raise ValueError(f"source {empty[0]} has a weight and no rows")
        self._drawn = np.zeros(len(self._rows), np.int64)
        """Draws of each source so far."""
        self._permuted = [(-1, np.empty(0, np.int64)) for _ in self._rows]

    def next(self) -> Int[np.ndarray, "B"]:
        """The next batch of row numbers."""
        return self.next_of_epochs()[1]

    def next_of_epochs(self) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"]]:
        """The next batch: the epoch of each row in its source, and the row numbers.

        Example: four rows, batches of three; the second batch ends the first epoch
            >>> cursor = DataCursor(num_rows=4, batch_size=3, seed=0)
            >>> cursor.next_of_epochs()[0].tolist(), cursor.next_of_epochs()[0].tolist()
            ([0, 0, 0], [0, 1, 1])
        """
        sources, places = self._next_places()
        epochs, rows = np.empty_like(places), np.empty_like(places)
        for source, of_source in enumerate(self._rows):
            here = np.flatnonzero(sources == source)
            epochs[here], offsets = places[here] // len(of_source), places[here] % len(of_source)
            for epoch in np.unique(epochs[here]).tolist():
                chosen = here[epochs[here] == epoch]
                rows[chosen] = of_source[self._permutation(source, epoch)[offsets[epochs[here] == epoch]]]
        return epochs, rows

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs, as plain integers."""
        state = {"num_rows": self._num_rows, "seed": self._seed, "position": int(self._drawn.sum())}
        return state | ({"drawn": self._drawn.tolist()} if len(self._drawn) > 1 else {})

    def restore(self, state: Mapping[str, Any]) -> None:
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
        self._drawn = np.asarray(state.get("drawn", [state["position"]]), np.int64)

    def _next_places(self) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"]]:
        """The source of each draw of the next batch, and how often it was drawn from before.

        The next source is the one that is the farthest behind its share.
        """
        sources, places = np.empty((2, self._batch_size), np.int64)
        position = int(self._drawn.sum())
        for i in range(self._batch_size):
            source = int(np.argmax(self._weights * (position + i + 1) - self._drawn))
            sources[i], places[i] = source, self._drawn[source]
            self._drawn[source] += 1
        return sources, places

    def _permutation(self, source: int, epoch: int) -> Int[np.ndarray, "N"]:
        if self._permuted[source][0] != epoch:
            # The first source's are those of a data set with one.
            entropy = [self._seed, epoch] if source == 0 else [self._seed, epoch, source]
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
            self._permuted[source] = epoch, rng.permutation(len(self._rows[source]))
        return self._permuted[source][1]
