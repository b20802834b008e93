# SPDX-License-Identifier: Apache-2.0
"""The records exchanged between the parts: prompts, samples and training batches.

Dimension letters, with one meaning in all modules: B rows, S whole-sequence positions, P prompt positions, T response
positions, V vocabulary, D width, L layers, N query heads, K key/value heads, H head size, F feed-forward width,
G samples per prompt, M number tokens, C chunk.

One example runs through all docstrings: the prompt ``2+3?`` (ids ``[7, 11, 8, 12]``), its true answer 5, and the
sampled response ``#### 6`` (ids ``[20, 6, 1]``, the last one end-of-text).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ntl_jax.records.ntl_info import NTLInfo

__all__ = ["HostOrDevice", "NTLInfo", "Prompt", "Sampling", "TrainBatch", "Trajectory"]

HostOrDevice = Any  # numpy while a batch is built, JAX in the step


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """One draw of a question for the policy.

    Args:
        index: index of the problem in its data set.
        ids: token ids of the prompt.
        text: the prompt as text.
        ground_truth: the true answer.
        data_source: name of the data set, for the reward function.
        extra_info: for the reward function.
        draw: number of this draw in the run: ``epoch * size of the data set + index``, by default ``index``. It seeds
            the samples and identifies the group: the samples of a draw do not depend on its position in the batch, and
            a problem that is drawn twice has two groups with different samples.

    Example:
        >>> prompt = Prompt(index=0, ids=np.array([7, 11, 8, 12]), text="2+3?", ground_truth="5")
        >>> prompt.draw, dataclasses.replace(prompt, draw=200).draw
        (0, 200)
    """

    index: int
    ids: Int[np.ndarray, "P"]
    text: str
    ground_truth: str
    data_source: str = "gsm8k"
    extra_info: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    draw: int = -1

    def __post_init__(self) -> None:
        if self.draw < 0:
            object.__setattr__(self, "draw", self.index)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to draw responses.

    Args:
        num_samples: samples per prompt, G.
        max_tokens: longest response; one that reaches it ends with finish_reason "length".
        temperature: 0 is greedy: no truncation, and the log-probs are those of temperature 1.
        top_p: keep the most likely tokens that together have this probability; 1: all.
        top_k: keep this many of the most likely tokens; 0: all.
        min_p: keep tokens with at least this fraction of the top token's probability. The order is temperature, min_p,
            top_k, top_p; the remaining probabilities are renormalized, and captured in this form.
        stop_token_ids: a response ends with the first of these tokens, which it includes.
        stop_strings: a response ends with the token that completes one of them; special tokens become stop ids.
        capture_digits: record the log-probs of the ten digits.
        capture_entropy: record the entropy.
        capture_alternatives: record the five most likely tokens.

    Raises:
        ValueError: listing every setting that is out of range.

    Example:
        >>> Sampling(num_samples=8, max_tokens=64).temperature
        1.0
    """

    num_samples: int
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop_token_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    capture_digits: bool = True
    capture_entropy: bool = False
    capture_alternatives: bool = False

    @property
    def is_truncated(self) -> bool:
        """Whether some tokens are excluded from sampling; the trainer's head cannot score such a distribution."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    def __post_init__(self) -> None:
        checks = {
            f"num_samples={self.num_samples}: at least 1": self.num_samples >= 1,
            f"max_tokens={self.max_tokens}: at least 1": self.max_tokens >= 1,
            f"temperature={self.temperature}: at least 0 (0 is greedy) and finite": 0 <= self.temperature < np.inf,
            f"top_p={self.top_p}: in (0, 1]; 1 keeps all tokens": 0 < self.top_p <= 1,
            f"top_k={self.top_k}: at least 0; 0 keeps all tokens": self.top_k >= 0,
            f"min_p={self.min_p}: in [0, 1]; 0 keeps all tokens": 0 <= self.min_p <= 1,
            f"stop_token_ids={self.stop_token_ids}: ids are not negative": all(i >= 0 for i in self.stop_token_ids),
            f"stop_strings={self.stop_strings!r}: a tuple of texts, none empty": not isinstance(self.stop_strings, str)
            and all(self.stop_strings),
        }
        if problems := [text for text, ok in checks.items() if not ok]:
            raise ValueError("Sampling settings out of range: " + "; ".join(problems))


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """One sampled response with the values captured while sampling; ragged host data, never recomputed.

    ``rollout_log_probs[t]`` is the log-probability of ``response_ids[t]`` under the sampling distribution, and
    ``digit_log_probs[t, d]`` that of the digit d there (all ids of value d together), over the full vocabulary.
    ``draw`` is that of the prompt; samples of one draw are a group.

    Example: for ``#### 6``, at the position of ``6`` the policy gave 5 and 6 almost equal probabilities.
        >>> digits = np.full((3, 10), -9.0, np.float32); digits[1, 5], digits[1, 6] = -0.8, -0.6
        >>> t = Trajectory(0, 0, np.array([7, 11, 8, 12]), np.array([20, 6, 1]),
        ...                np.array([-0.1, -0.6, -0.01], np.float32), digits, "stop", policy_version=3)
        >>> t.response_ids.shape, t.digit_log_probs[1].argmax().item()
        ((3,), 6)
    """

    prompt_index: int
    sample_index: int
    prompt_ids: Int[np.ndarray, "P"]
    response_ids: Int[np.ndarray, "T"]
    rollout_log_probs: Float[np.ndarray, "T"]
    digit_log_probs: Float[np.ndarray, "T 10"] | None
    finish_reason: Literal["stop", "length"]
    policy_version: int
    entropy: Float[np.ndarray, "T"] | None = None
    alternative_ids: Int[np.ndarray, "T 5"] | None = None
    alternative_log_probs: Float[np.ndarray, "T 5"] | None = None
    draw: int = -1

    def __post_init__(self) -> None:
        if self.draw < 0:
            object.__setattr__(self, "draw", self.prompt_index)


class TrainBatch(NamedTuple):
    """Rows for one update; arrays with T refer to the predicted positions. Fields that are not needed are None.

    A row is a prompt and its response, padded on the right, or several of these packed: ``segment_ids`` then number
    them from 1, with 0 for padding, and ``positions`` start at 0 in each. ``predictors[b, t]`` is the position in the
    row whose hidden state predicts ``targets[b, t]``: only these go through the vocabulary head. Everything is defined
    by ``mask``, never by a pad id. ``number_targets`` is the true value of the number token there, NaN without one.
    Losses are sums over tokens with ``weights``, which include the denominators (NTL, reference: own weights).

    Example: the row of the prompt ``2+3?`` with ``#### 6`` (S = 8, T = 3); the digit should have been 5
        tokens [7, 11, 8, 12, 20, 6, 1, 0], positions [0, 1, 2, 3, 4, 5, 6, 7], predictors [3, 4, 5]
        targets [20, 6, 1], mask [True, True, True], number_targets [nan, 5, nan]
    """

    tokens: Int[HostOrDevice, "B S"]
    positions: Int[HostOrDevice, "B S"]
    segment_ids: Int[HostOrDevice, "B S"] | None
    predictors: Int[HostOrDevice, "B T"]
    targets: Int[HostOrDevice, "B T"]
    mask: Bool[HostOrDevice, "B T"]
    number_targets: Float[HostOrDevice, "B T"]
    weights: Float[HostOrDevice, "B T"] | None = None
    number_weights: Float[HostOrDevice, "B T"] | None = None
    old_log_probs: Float[HostOrDevice, "B T"] | None = None
    advantages: Float[HostOrDevice, "B T"] | None = None
    correction_weights: Float[HostOrDevice, "B T"] | None = None
    reference_log_probs: Float[HostOrDevice, "B T"] | None = None
    reference_weights: Float[HostOrDevice, "B T"] | None = None
    old_values: Float[HostOrDevice, "B T"] | None = None
    returns: Float[HostOrDevice, "B T"] | None = None
