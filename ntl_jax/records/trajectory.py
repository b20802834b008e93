# SPDX-License-Identifier: Apache-2.0
"""A sampled response, with the values captured while sampling."""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ntl_jax.records.readings import NumberReadings
from ntl_jax.records.weights import Version

FinishReason = Literal["stop", "length", "lost"]
"""Why a response ended: at a stop token or stop string, at ``max_tokens``, or because the engine gave it up."""


class VersionSpan(NamedTuple):
    """The tokens ``response_ids[start:stop]`` were sampled from the weights of this version."""

    start: int
    stop: int
    version: Version


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """One sampled response with the values captured while sampling; ragged host data, never recomputed.

    ``rollout_log_probs[t]`` is the log-probability of ``response_ids[t]`` under the sampling distribution, and
    ``digit_log_probs[t, d]`` is the log-probability of digit d at the same position (all ids of value d together), over
    the full vocabulary. For multi-digit tokens, ``number_readings`` replaces it. ``draw`` is the prompt's; samples of
    one draw form a group. ``versions`` says which weights sampled which tokens; the spans are in order and cover the
    response. A lost response has no tokens, and is scored as if its reward function had failed.

    Example: in ``#### 6``, the policy gives 5 and 6 almost equal probabilities at the position of ``6``
        >>> digits = np.full((3, 10), -9.0, np.float32); digits[1, 5], digits[1, 6] = -0.8, -0.6
        >>> t = Trajectory(0, 0, np.array([7, 11, 8, 12]), np.array([20, 6, 1]),
        ...                np.array([-0.1, -0.6, -0.01], np.float32), digits, "stop",
        ...                versions=(VersionSpan(0, 3, Version(3)),))
        >>> t.response_ids.shape, t.digit_log_probs[1].argmax().item(), t.version.iteration
        ((3,), 6, 3)
    """

    prompt_index: int
    sample_index: int
    prompt_ids: Int[np.ndarray, "P"]
    response_ids: Int[np.ndarray, "T"]
    rollout_log_probs: Float[np.ndarray, "T"]
    digit_log_probs: Float[np.ndarray, "T 10"] | None
    finish_reason: FinishReason
    versions: tuple[VersionSpan, ...]
    entropy: Float[np.ndarray, "T"] | None = None
    alternative_ids: Int[np.ndarray, "T 5"] | None = None
    alternative_log_probs: Float[np.ndarray, "T 5"] | None = None
    draw: int = -1
    number_readings: NumberReadings | None = None

    def __post_init__(self) -> None:
        if self.draw < 0:
            object.__setattr__(self, "draw", self.prompt_index)

    @property
    def version(self) -> Version:
        """The oldest version, which is the first: a response may continue with newer weights, never with older."""
        return self.versions[0].version
