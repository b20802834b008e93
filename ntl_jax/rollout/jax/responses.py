# SPDX-License-Identifier: Apache-2.0
"""The samples so far, on the host: tokens, captures and finish reason of each sample."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Bool, Int

from ntl_jax.records import AnyArray, Request, Trajectory, Version, VersionSpan
from ntl_jax.rollout.jax.decode import PAGE, Segment
from ntl_jax.rollout.jax.sampler.sample import Captured


class Responses:
    """Stores samples in reusable rows: a sample holds a row from its first segment until it is taken out.

    Args:
        num_rows: most samples that are started and not yet taken out.
        max_tokens: most tokens per sample.
        length_to_stop: counts a response's tokens up to and including the one that completes a stop string; its result
            is None without such a string.
    """

    def __init__(self, num_rows: int, max_tokens: int, length_to_stop: Callable[[np.ndarray], int | None] | None):
        self._max_tokens, self._length_to_stop = max_tokens, length_to_stop
        self._captured: Captured | None = None
        self.lengths = np.zeros(num_rows, np.int32)
        self._stopped = np.zeros(num_rows, bool)
        self.num_steps = self.num_tokens = 0
        """Number of decode steps in all segments; number of tokens in the samples taken out."""

    def add(self, row_of_slot: Int[np.ndarray, "X"], segment: Segment) -> Bool[np.ndarray, "X"]:
        """Adds a segment's tokens to the rows of the slots (-1: none); returns which slots' samples have finished."""
        taken = row_of_slot >= 0
        rows = row_of_slot[taken]
        if self._captured is None:
            shape = (len(self.lengths), -(-self._max_tokens // PAGE), PAGE)
            self._captured = jax.tree.map(lambda x: np.empty((*shape, *x.shape[2:]), x.dtype), segment.captured)
        where = (rows, self.lengths[rows] // PAGE)
        for stored, new in zip(jax.tree.leaves(self._captured), jax.tree.leaves(segment.captured), strict=True):
            stored[where] = new.swapaxes(0, 1)[taken]
        self.lengths[rows] += segment.lengths[taken]
        self._stopped[rows] = segment.stopped[taken]
        self.num_steps += int(segment.lengths.max())
        if self._length_to_stop is not None:
            self._find_stop_strings(rows)
        finished = np.zeros_like(taken)
        finished[taken] = self._stopped[rows] | (self.lengths[rows] == self._max_tokens)
        return finished

    def _find_stop_strings(self, rows: np.ndarray) -> None:
        assert self._length_to_stop is not None and self._captured is not None
        for row in rows:
            length = self._length_to_stop(self._of(row, self._captured.tokens))
            if length is not None:
                self.lengths[row], self._stopped[row] = length, True

    def last_tokens(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """The last token of each of these rows."""
        assert self._captured is not None
        last = self.lengths[rows] - 1
        return np.asarray(self._captured.tokens)[rows, last // PAGE, last % PAGE]

    def _of(self, row: int, stored: AnyArray) -> np.ndarray:
        return np.asarray(stored)[row].reshape(-1, *stored.shape[3:])[: self.lengths[row]]

    def take_out(self, request: Request, rows: range, version: Version) -> list[Trajectory]:
        """The samples of a request, stored in these rows; frees the rows."""
        prompt, trajectories = request.prompt, []
        for sample_index, row in enumerate(rows):
            of_sample = jax.tree.map(lambda stored, row=row: self._of(row, stored).copy(), self._captured)
            trajectories.append(
                Trajectory(
                    prompt_index=prompt.index,
                    sample_index=sample_index,
                    prompt_ids=prompt.ids,
                    response_ids=of_sample.tokens,
                    rollout_log_probs=of_sample.log_probs,
                    digit_log_probs=of_sample.digit_log_probs,
                    finish_reason="stop" if self._stopped[row] else "length",
                    versions=(VersionSpan(0, len(of_sample.tokens), version),),
                    draw=prompt.draw,
                    entropy=of_sample.entropy,
                    alternative_ids=of_sample.alternative_ids,
                    alternative_log_probs=of_sample.alternative_log_probs,
                )
            )
        of_request = slice(rows.start, rows.stop)
        self.num_tokens += int(self.lengths[of_request].sum())
        self.lengths[of_request], self._stopped[of_request] = 0, False
        return trajectories
