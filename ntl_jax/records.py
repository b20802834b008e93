# SPDX-License-Identifier: Apache-2.0
"""The records that travel between the parts: what is asked, what was sampled, what is trained on.

Letters, the same everywhere and never reused: B rows, S whole-sequence positions, P prompt positions, T response
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

HostOrDevice = Any  # numpy while a batch is built, jax in the step


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """One question for the policy.

    ``index`` identifies the problem in its data set and seeds its samples: the same problem draws the same samples
    wherever it stands in a batch.

    Example:
        >>> Prompt(index=0, ids=np.array([7, 11, 8, 12]), text="2+3?", ground_truth="5").data_source
        'gsm8k'
    """

    index: int
    ids: Int[np.ndarray, "P"]
    text: str
    ground_truth: str
    data_source: str = "gsm8k"
    extra_info: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to draw responses. Temperature 0 is greedy (its log-probs are those of temperature 1).

    Raises:
        ValueError: listing every setting that is out of its range.

    Example:
        >>> Sampling(num_samples=8, max_tokens=64).temperature
        1.0
    """

    num_samples: int
    max_tokens: int
    temperature: float = 1.0
    stop_token_ids: tuple[int, ...] = ()
    capture_digits: bool = True

    def __post_init__(self) -> None:
        checks = {
            f"num_samples={self.num_samples}: at least 1": self.num_samples >= 1,
            f"max_tokens={self.max_tokens}: at least 1": self.max_tokens >= 1,
            f"temperature={self.temperature}: at least 0 (0 is greedy) and finite": 0 <= self.temperature < np.inf,
            f"stop_token_ids={self.stop_token_ids}: ids are not negative": all(i >= 0 for i in self.stop_token_ids),
        }
        if problems := [text for text, ok in checks.items() if not ok]:
            raise ValueError("Sampling settings out of range: " + "; ".join(problems))


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """One sampled response with what was captured while sampling; ragged host data, never recomputed.

    ``rollout_log_probs[t]`` is the log-probability of ``response_ids[t]`` under the sampling distribution, and
    ``digit_log_probs[t, d]`` that of the digit d there (all ids of value d together), over the full vocabulary.

    Example: for ``#### 6``, at the position of ``6`` the policy gave 5 and 6 almost equal chances.
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


class TrainBatch(NamedTuple):
    """Rows for one update, right-padded; the arrays with T stand at the positions that are predicted.

    A row of ``tokens`` is a prompt and its response. ``predictors[b, t]`` is the position in the row whose hidden
    state predicts the response token ``targets[b, t]``, so only those positions meet the vocabulary head. Everything
    is defined by ``mask``, never by comparing with a pad id. ``number_targets`` is the true value of the number token
    there, NaN where there is none. The last four are policy optimisation's; the supervised stage leaves them None.

    Example: the row of the prompt ``2+3?`` with ``#### 6`` (S = 8, T = 3)
        tokens         [7, 11, 8, 12, 20, 6, 1, 0]
        segment_ids    [1,  1, 1,  1,  1, 1, 1, 0]     0 is padding
        positions      [0,  1, 2,  3,  4, 5, 6, 7]
        predictors     [3, 4, 5]
        targets        [20, 6, 1]
        mask           [True, True, True]
        number_targets [nan, 5, nan]                   the digit should have been 5
    """

    tokens: Int[HostOrDevice, "B S"]
    positions: Int[HostOrDevice, "B S"]
    segment_ids: Int[HostOrDevice, "B S"]
    predictors: Int[HostOrDevice, "B T"]
    targets: Int[HostOrDevice, "B T"]
    mask: Bool[HostOrDevice, "B T"]
    number_targets: Float[HostOrDevice, "B T"]
    old_log_probs: Float[HostOrDevice, "B T"] | None = None
    advantages: Float[HostOrDevice, "B T"] | None = None
    old_values: Float[HostOrDevice, "B T"] | None = None
    returns: Float[HostOrDevice, "B T"] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class NTLInfo:
    """What number tokens say about a batch of responses; row b belongs to sample b. Definitions: docs of each field.

    Args:
        digit_log_probs: captured log-probs of the ten digits, zeros past a response's end.
        is_digit: the sampled token is a digit.
        digit_ground_truth: the digit that should stand there, -1 where there is no truth.
        surplus: digits of the answer that have no place in the reference.
        missing_places: places of the reference that the answer lacks (a wrong sign counts as one).
        digit_log_probs_selected: log-prob of the sampled digit, 0 elsewhere.
        ntl_loss: mean loss over digits with truth, missing and surplus places; inf where the sample has none.
        sequence_strings: the responses' texts.
        method: name of the loss behind ``ntl_loss``.

    Example: ``#### 6`` where 5 was right, and a policy sure of its 6: the squared error is 1.
        >>> one_hot = np.full((1, 3, 10), -30.0, np.float32); one_hot[0, 1, 6] = 0.0
        >>> info = NTLInfo(one_hot, np.array([[False, True, False]]), np.array([[-1, 5, -1]]), np.zeros((1, 3), bool),
        ...                np.array([0]), np.zeros((1, 3), np.float32), np.array([1.0]), ("#### 6",), "mse")
        >>> info.total_digits.tolist(), info.correct_digits.tolist(), info.digit_accuracy.tolist()
        ([1], [0], [0.0])
    """

    digit_log_probs: Float[np.ndarray, "B T 10"]
    is_digit: Bool[np.ndarray, "B T"]
    digit_ground_truth: Int[np.ndarray, "B T"]
    surplus: Bool[np.ndarray, "B T"]
    missing_places: Int[np.ndarray, "B"]
    digit_log_probs_selected: Float[np.ndarray, "B T"]
    ntl_loss: Float[np.ndarray, "B"]
    sequence_strings: tuple[str, ...]
    method: str

    @property
    def batch_size(self) -> int:
        return self.is_digit.shape[0]

    @property
    def seq_len(self) -> int:
        return self.is_digit.shape[1]

    @property
    def has_truth(self) -> Bool[np.ndarray, "B T"]:
        return self.digit_ground_truth >= 0

    @property
    def has_digits(self) -> Bool[np.ndarray, "B"]:
        return np.any(self.is_digit, axis=1)

    @property
    def total_digits(self) -> Int[np.ndarray, "B"]:
        return self.is_digit.sum(axis=1)

    @property
    def correct_digits(self) -> Int[np.ndarray, "B"]:
        """Digits whose most likely value is the true one."""
        return (self.has_truth & (self.digit_log_probs.argmax(axis=-1) == self.digit_ground_truth)).sum(axis=1)

    @property
    def digit_accuracy(self) -> Float[np.ndarray, "B"]:
        """Correct digits over digits with truth plus missing places; 0 where there are neither."""
        places = self.has_truth.sum(axis=1) + self.missing_places
        return self.correct_digits / np.maximum(places, 1)

    @property
    def avg_digit_log_prob(self) -> Float[np.ndarray, "B"]:
        """Mean log-prob of the sampled digits; -inf where the response has none."""
        total = self.digit_log_probs_selected.sum(axis=1)
        return np.where(self.has_digits, total / np.maximum(self.total_digits, 1), -np.inf)

    def __getitem__(self, rows: slice) -> "NTLInfo":
        """The records of some rows: ``info[i : i + 1]`` is what the reward of sample i receives."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "method"}
        return NTLInfo(**{name: value[rows] for name, value in fields.items()}, method=self.method)
