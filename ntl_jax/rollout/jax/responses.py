# SPDX-License-Identifier: Apache-2.0
"""What has been sampled so far, on the host: every sample's tokens and captures, and how it ended."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int

from ntl_jax.records import Prompt, Trajectory
from ntl_jax.rollout.jax.programs import PAGE, Segment


class Responses:
    """Samples are numbered prompt x G + sample index.

    Args:
        num_samples: of all prompts together.
        max_tokens: of each.
        length_to_stop: how many of a response's tokens there are up to and with the one that completes a stop string,
            None where there is no such string.
    """

    def __init__(self, num_samples: int, max_tokens: int, length_to_stop: Callable[[np.ndarray], int | None] | None):
        self._max_tokens, self._length_to_stop = max_tokens, length_to_stop
        self._captured: Any = None
        self.lengths = np.zeros(num_samples, np.int32)
        self._stopped = np.zeros(num_samples, bool)
        self.num_steps = 0

    def add(self, sample_of_slot: Int[np.ndarray, "X"], segment: Segment) -> Bool[np.ndarray, "X"]:
        """Adds a segment's tokens to the samples in the slots; returns which slots have finished theirs."""
        taken = sample_of_slot >= 0
        samples = sample_of_slot[taken]
        if self._captured is None:
            shape = (len(self.lengths), -(-self._max_tokens // PAGE), PAGE)
            self._captured = jax.tree.map(lambda x: np.empty((*shape, *x.shape[2:]), x.dtype), segment.captured)
        where = (samples, self.lengths[samples] // PAGE)
        for stored, new in zip(jax.tree.leaves(self._captured), jax.tree.leaves(segment.captured), strict=True):
            stored[where] = new.swapaxes(0, 1)[taken]
        self.lengths[samples] += segment.lengths[taken]
        self._stopped[samples] = segment.stopped[taken]
        self.num_steps += int(segment.lengths.max())
        if self._length_to_stop is not None:
            self._find_stop_strings(samples)
        finished = np.zeros_like(taken)
        finished[taken] = self._stopped[samples] | (self.lengths[samples] == self._max_tokens)
        return finished

    def _find_stop_strings(self, samples: np.ndarray) -> None:
        assert self._length_to_stop is not None
        for sample in samples:
            length = self._length_to_stop(self._of(sample, self._captured.tokens))
            if length is not None:
                self.lengths[sample], self._stopped[sample] = length, True

    def last_tokens(self, samples: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """The token that each of these samples ends with."""
        last = self.lengths[samples] - 1
        return self._captured.tokens[samples, last // PAGE, last % PAGE]

    def _of(self, sample: int, stored: np.ndarray) -> np.ndarray:
        return stored[sample].reshape(-1, *stored.shape[3:])[: self.lengths[sample]]

    def trajectories(self, prompts: Sequence[Prompt], version: int) -> list[Trajectory]:
        """All samples, in prompt order, then sample order."""
        num_each = len(self.lengths) // max(1, len(prompts))
        trajectories = []
        for sample in range(len(self.lengths)):
            prompt, captured = prompts[sample // num_each], self._captured
            of_sample = jax.tree.map(lambda stored, sample=sample: self._of(sample, stored), captured)
            trajectories.append(
                Trajectory(
                    prompt_index=prompt.index,
                    sample_index=sample % num_each,
                    prompt_ids=prompt.ids,
                    response_ids=of_sample.tokens,
                    rollout_log_probs=of_sample.log_probs,
                    digit_log_probs=of_sample.digit_log_probs,
                    finish_reason="stop" if self._stopped[sample] else "length",
                    policy_version=version,
                    draw=prompt.draw,
                    entropy=of_sample.entropy,
                    alternative_ids=of_sample.alternative_ids,
                    alternative_log_probs=of_sample.alternative_log_probs,
                )
            )
        return trajectories
