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
    """One question for the policy, asked once.

    Args:
        index: of the problem in its data set.
        ids: the question as the policy reads it.
        text: the same as text.
        ground_truth: its answer.
        data_source: name of the data set, for the reward function.
        extra_info: for the reward function.
        draw: number of this asking in the run: ``epoch * size of the data set + index``, by default ``index``. It seeds
            the samples and tells groups apart: a draw has the same samples wherever it stands in a batch, and a problem
            that is asked twice has two groups of different samples.

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
        num_samples: of each prompt, G.
        max_tokens: longest response; one that reaches it ends with finish_reason "length".
        temperature: 0 is greedy: no truncation, and the log-probs are those of temperature 1.
        top_p: only the likeliest tokens that together have this probability; 1: all.
        top_k: only so many of the likeliest tokens; 0: all.
        min_p: only tokens with at least this fraction of the likeliest one's probability. Applied in the order min_p,
            top_k, top_p, after the temperature; what is left is renormalised, and captured so.
        stop_token_ids: a response ends with the first of them, included.
        stop_strings: a response ends with the token that completes the first of them; special tokens become stop ids.
        capture_digits: record the log-probs of the ten digits.
        capture_entropy: record the entropy.
        capture_alternatives: record the five likeliest tokens.

    Raises:
        ValueError: listing every setting that is out of its range.

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
        """Whether some tokens cannot be drawn: the distribution is then not one that the trainer's head can score."""
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
    """One sampled response with what was captured while sampling; ragged host data, never recomputed.

    ``rollout_log_probs[t]`` is the log-probability of ``response_ids[t]`` under the sampling distribution, and
    ``digit_log_probs[t, d]`` that of the digit d there (all ids of value d together), over the full vocabulary.
    ``draw`` is the prompt's; samples of one draw are a group.

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
    alternative_ids: Int[np.ndarray, "T 5"] | None = None
    alternative_log_probs: Float[np.ndarray, "T 5"] | None = None
    draw: int = -1

    def __post_init__(self) -> None:
        if self.draw < 0:
            object.__setattr__(self, "draw", self.prompt_index)


class TrainBatch(NamedTuple):
    """Rows for one update; the arrays with T stand at the positions that are predicted. What is not needed is None.

    A row is a prompt and its response, padded on the right, or several such one after the other: ``segment_ids`` then
    number them from 1 on, 0 is padding, and ``positions`` count from 0 in each. ``predictors[b, t]`` is the position in
    the row whose hidden state predicts ``targets[b, t]``: only those meet the vocabulary head. Everything is defined by
    ``mask``, never by a pad id. ``number_targets`` is the true value of the number token there, NaN without one.
    Losses are sums over tokens by ``weights`` (NTL, reference policy: their own), in which the denominators are.

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
    reference_log_probs: Float[HostOrDevice, "B T"] | None = None
    reference_weights: Float[HostOrDevice, "B T"] | None = None
    old_values: Float[HostOrDevice, "B T"] | None = None
    returns: Float[HostOrDevice, "B T"] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class NTLInfo:
    """What number tokens say about a batch of responses; row b belongs to sample b. Definitions: docs of each field.

    A digit is a sampled token that is one. Where the tokenizer writes several digits as one token, such a token takes a
    digit's part everywhere, beside those of as many digits.

    Args:
        digit_log_probs: log-probs of the ten digits, zeros past a response's end; None where tokens hold several
            digits, and for the confidence proxy.
        digit_values: the sampled digit, -1 where the token is none.
        digit_ground_truth: the digit that should stand there, -1 where there is no truth.
        surplus: digits of a number at places that the true one lacks.
        is_answer: digits of the final answer.
        missing_places: places of the true numbers that the written ones lack (a wrong sign counts as one).
        missing_answer_places: those of the final answer.
        digit_log_probs_selected: log-prob of the sampled digit, 0 elsewhere.
        predicted: the most likely digit there, -1 where the token is no digit.
        top_probability: its share of the ten digits' probability.
        truth_probability: the true digit's share, 0 where there is no truth.
        digit_losses: the loss at each digit with truth, 0 elsewhere.
        ntl_loss: mean loss over digits with truth, missing and surplus places; inf without any, or without an answer.
        sequence_strings: the responses' texts.
        method: name of the loss behind ``ntl_loss``.

    Example: ``#### 6`` where 5 was right, and a policy that gave 6 three times 5's probability: (5.75 - 5)^2.
        >>> def at_the_digit(x, elsewhere):
        ...     return np.array([[elsewhere, x, elsewhere]])
        >>> info = NTLInfo(
        ...     digit_log_probs=None,
        ...     digit_values=at_the_digit(6, -1), digit_ground_truth=at_the_digit(5, -1), predicted=at_the_digit(6, -1),
        ...     surplus=np.zeros((1, 3), bool), is_answer=at_the_digit(True, False),
        ...     missing_places=np.array([0]), missing_answer_places=np.array([0]),
        ...     digit_log_probs_selected=at_the_digit(-0.4, 0.0), top_probability=at_the_digit(0.75, 0.0),
        ...     truth_probability=at_the_digit(0.25, 0.0), digit_losses=at_the_digit(0.5625, 0.0),
        ...     ntl_loss=np.array([0.5625]), sequence_strings=("#### 6",), method="mse")
        >>> info.total_digits.tolist(), info.digit_accuracy.tolist(), info.probability_quality.tolist()
        ([1], [0.0], [0.25])
    """

    digit_log_probs: Float[np.ndarray, "B T 10"] | None
    digit_values: Int[np.ndarray, "B T"]
    digit_ground_truth: Int[np.ndarray, "B T"]
    surplus: Bool[np.ndarray, "B T"]
    is_answer: Bool[np.ndarray, "B T"]
    missing_places: Int[np.ndarray, "B"]
    missing_answer_places: Int[np.ndarray, "B"]
    digit_log_probs_selected: Float[np.ndarray, "B T"]
    predicted: Int[np.ndarray, "B T"]
    top_probability: Float[np.ndarray, "B T"]
    truth_probability: Float[np.ndarray, "B T"]
    digit_losses: Float[np.ndarray, "B T"]
    ntl_loss: Float[np.ndarray, "B"]
    sequence_strings: tuple[str, ...]
    method: str

    @property
    def batch_size(self) -> int:
        return self.digit_values.shape[0]

    @property
    def seq_len(self) -> int:
        return self.digit_values.shape[1]

    @property
    def is_digit(self) -> Bool[np.ndarray, "B T"]:
        return self.digit_values >= 0

    @property
    def digit_positions(self) -> list[Int[np.ndarray, "digits"]]:
        """Response positions of each sample's digits."""
        return [np.flatnonzero(row) for row in self.is_digit]

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
    def untruthed(self) -> Int[np.ndarray, "B"]:
        """Digits without truth; never scored as right."""
        return (self.is_digit & ~self.has_truth).sum(axis=1)

    @property
    def is_correct(self) -> Bool[np.ndarray, "B T"]:
        """Digits whose most likely value is the true one."""
        return self.has_truth & (self.predicted == self.digit_ground_truth)

    @property
    def correct_digits(self) -> Int[np.ndarray, "B"]:
        return self.is_correct.sum(axis=1)

    @property
    def digit_accuracy(self) -> Float[np.ndarray, "B"]:
        """Correct digits over digits with truth plus missing places; 0 where there are neither."""
        places = self.has_truth.sum(axis=1) + self.missing_places
        return self.correct_digits / np.maximum(places, 1)

    @property
    def confidence(self) -> Float[np.ndarray, "B"]:
        """Mean over digits of the most likely one's share; 0 where there are none."""
        return self.top_probability.sum(axis=1) / np.maximum(self.total_digits, 1)

    @property
    def probability_quality(self) -> Float[np.ndarray, "B"]:
        """Mean share of the true digit over digits with truth; 0 where there are none."""
        return self.truth_probability.sum(axis=1) / np.maximum(self.has_truth.sum(axis=1), 1)

    @property
    def avg_digit_log_prob(self) -> Float[np.ndarray, "B"]:
        """Mean log-prob of the sampled digits; -inf where the response has none."""
        total = self.digit_log_probs_selected.sum(axis=1)
        return np.where(self.has_digits, total / np.maximum(self.total_digits, 1), -np.inf)

    def __getitem__(self, rows: slice) -> "NTLInfo":
        """The records of some rows: ``info[i : i + 1]`` is what the reward of sample i receives."""
        whole = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "method"}
        return dataclasses.replace(self, **{k: v[rows] for k, v in whole.items() if v is not None})

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, one entry a sample; what has an entry a token holds those of the sample's digits alone."""
        digits = [(row, positions) for row, positions in enumerate(self.digit_positions)]
        of_tokens = ("digit_log_probs", "digit_values", "digit_ground_truth", "digit_log_probs_selected", "has_truth")
        of_tokens += ("is_answer", "predicted", "top_probability", "truth_probability", "digit_losses")
        of_samples = ("missing_places", "ntl_loss", "digit_accuracy", "total_digits", "correct_digits", "confidence")
        of_samples += ("probability_quality", "avg_digit_log_prob", "has_digits")
        present = [name for name in of_tokens if getattr(self, name) is not None]
        return (
            {"digit_positions": [positions.tolist() for _, positions in digits]}
            | {name: [getattr(self, name)[row, at].tolist() for row, at in digits] for name in present}
            | {name: getattr(self, name).tolist() for name in of_samples}
            | {"sequence_strings": list(self.sequence_strings), "batch_size": self.batch_size}
            | {"seq_len": self.seq_len, "method": self.method}
        )
