# SPDX-License-Identifier: Apache-2.0
"""Data on the number tokens of a batch of responses: attributes are arrays; reward functions read a mapping."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import overload

import numpy as np
from jaxtyping import Bool, Float, Int

OF_DIGITS = (
    *("digit_positions", "digit_log_probs", "digit_values", "digit_ground_truth", "digit_log_probs_selected"),
    *("has_truth", "is_answer", "predicted", "top_probability", "truth_probability", "digit_losses"),
)
OF_SAMPLES = (
    *("missing_places", "ntl_loss", "digit_accuracy", "total_digits", "correct_digits", "confidence"),
    *("probability_quality", "avg_digit_log_prob", "has_digits", "sequence_strings"),
)
OF_BATCH = ("batch_size", "seq_len", "method")


@dataclasses.dataclass(frozen=True, eq=False)
class NTLInfo(Mapping[str, object]):
    """Data on the number tokens of a batch of responses; row b belongs to sample b.

    Attributes are arrays over the batch. The record is also a mapping to plain numbers, texts and lists. For a sample,
    as in a reward function, ``info["ntl_loss"]`` is a number, and a per-token entry is a list over the sample's digits.
    For a batch, each entry is a list over the samples (see `to_dict`).

    A digit is a sampled digit token. If the tokenizer has multi-digit tokens, such a token counts as one digit, and its
    alternatives are the tokens with the same number of digits.

    Args:
        digit_log_probs: log-probs of the ten digits, zeros after a response's end; None for multi-digit tokens and for
            the confidence proxy.
        digit_values: the sampled digit, -1 if the token is not a digit.
        digit_ground_truth: the true digit at this position, -1 without truth.
        surplus: whether a digit is at a place that the true number does not have.
        is_answer: whether a digit belongs to the final answer.
        missing_places: number of places of the true numbers that the written ones lack (a wrong sign counts as one).
        missing_answer_places: the same for the final answer.
        digit_log_probs_selected: log-prob of the sampled digit, 0 elsewhere.
        predicted: the most likely digit at the position, -1 if the token is not a digit.
        top_probability: share of the most likely digit in the probability of the ten digits.
        truth_probability: share of the true digit, 0 without truth.
        digit_losses: the loss at each digit with truth, 0 elsewhere.
        ntl_loss: mean loss over digits with truth, missing and surplus places; inf if there are none, or no answer.
        sequence_strings: the responses' texts.
        method: name of the loss in ``ntl_loss``.

    Example: ``#### 6`` instead of 5, with probability 0.75 on 6 and 0.25 on 5, so the loss is (5.75 - 5)^2.
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
        >>> info["ntl_loss"], info["digit_positions"], info.get("predicted"), "digit_log_probs" in info
        (0.5625, [1], [6], False)
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

    # Records are compared by identity, since == on arrays is elementwise.
    __eq__ = object.__eq__
    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]

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
        """Number of digits without truth, which never count as correct."""
        return (self.is_digit & ~self.has_truth).sum(axis=1)

    @property
    def is_correct(self) -> Bool[np.ndarray, "B T"]:
        """Whether the most likely digit is the true digit."""
        return self.has_truth & (self.predicted == self.digit_ground_truth)

    @property
    def correct_digits(self) -> Int[np.ndarray, "B"]:
        return self.is_correct.sum(axis=1)

    @property
    def digit_accuracy(self) -> Float[np.ndarray, "B"]:
        """Correct digits / (digits with truth + missing places); 0 if there is neither."""
        places = self.has_truth.sum(axis=1) + self.missing_places
        return self.correct_digits / np.maximum(places, 1)

    @property
    def confidence(self) -> Float[np.ndarray, "B"]:
        """Mean share of the most likely digit, over digits; 0 without digits."""
        return self.top_probability.sum(axis=1) / np.maximum(self.total_digits, 1)

    @property
    def probability_quality(self) -> Float[np.ndarray, "B"]:
        """Mean share of the true digit, over digits with truth; 0 without such digits."""
        return self.truth_probability.sum(axis=1) / np.maximum(self.has_truth.sum(axis=1), 1)

    @property
    def avg_digit_log_prob(self) -> Float[np.ndarray, "B"]:
        """Mean log-prob of the sampled digits; -inf if the response has none."""
        total = self.digit_log_probs_selected.sum(axis=1)
        return np.where(self.has_digits, total / np.maximum(self.total_digits, 1), -np.inf)

    @overload
    def __getitem__(self, key: slice) -> "NTLInfo": ...
    @overload
    def __getitem__(self, key: str) -> object: ...
    def __getitem__(self, key: slice | str) -> object:
        """Rows of the record (the reward of sample i receives ``info[i : i + 1]``), or an entry by name."""
        if isinstance(key, slice):
            whole = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "method"}
            return dataclasses.replace(self, **{k: v[key] for k, v in whole.items() if v is not None})
        if key not in self._names:
            raise KeyError(f"{key!r}: the record has {', '.join(self)}")
        entry = self._entry(key)
        return entry[0] if self.batch_size == 1 and isinstance(entry, list) else entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def to_dict(self) -> dict[str, object]:
        """Plain lists with one entry per sample; per-token fields are lists over the sample's digits only."""
        return {name: self._entry(name) for name in self}

    @property
    def _names(self) -> tuple[str, ...]:
        absent = ("digit_log_probs",) if self.digit_log_probs is None else ()
        return tuple(name for name in (*OF_DIGITS, *OF_SAMPLES, *OF_BATCH) if name not in absent)

    def _entry(self, name: str) -> object:
        value = getattr(self, name)
        if name == "digit_positions":
            return [positions.tolist() for positions in value]
        if name in OF_DIGITS:
            return [value[row, positions].tolist() for row, positions in enumerate(self.digit_positions)]
        if name == "sequence_strings":
            return list(value)
        return value.tolist() if name in OF_SAMPLES else value
