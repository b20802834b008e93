# SPDX-License-Identifier: Apache-2.0
"""What a response says: its text, its answer, and what its digits should have been. Each is read once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ntl_jax.config import NTLSection
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.numerals import DigitLabels, NumberTable, TokenDecoder, label_response, sampled_numbers
from ntl_jax.records import Prompt, Trajectory
from ntl_jax.rewards import extract_answer, is_correct


class Reading(NamedTuple):
    """One response, read.

    Args:
        text: the response.
        answer: the answer that it gives; None if it gives none.
        exact_match: the answer is the true one.
        labels: true digits; None without NTL.
    """

    text: str
    answer: str | None
    exact_match: bool
    labels: DigitLabels | None


class Reader:
    """Reads responses.

    Args:
        section: the ``ntl`` section.
        tokenizer: of the policy.
        table: its number tokens.
    """

    def __init__(self, section: NTLSection, tokenizer: Tokenizer, table: NumberTable):
        self._section, self._tokenizer, self._table = section, tokenizer, table
        self._decode = TokenDecoder(tokenizer)
        self._token_values = np.asarray(table.token_values)

    def __call__(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory]) -> list[Reading]:
        """Reads the responses.

        Args:
            prompts: one a response.
            trajectories: the responses.
        """
        if not self._section.cache_digit_mappings:
            self._read_tokenizer()
        return [self._read(prompt, t) for prompt, t in zip(prompts, trajectories, strict=True)]

    def labels(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory]) -> list[DigitLabels]:
        """The labels alone, whatever the settings."""
        return [
            self._label(prompt, t, *self._decode(t.response_ids))
            for prompt, t in zip(prompts, trajectories, strict=True)
        ]

    def _read(self, prompt: Prompt, trajectory: Trajectory) -> Reading:
        text, starts = self._decode(trajectory.response_ids)
        labels = self._label(prompt, trajectory, text, starts) if self._section.enabled else None
        return Reading(text, extract_answer(text), is_correct(text, prompt.ground_truth), labels)

    def _label(self, prompt: Prompt, trajectory: Trajectory, text: str, starts: np.ndarray) -> DigitLabels:
        numbers = sampled_numbers(trajectory.response_ids, self._token_values)
        return label_response(text, starts, numbers, prompt.ground_truth, mode=self._section.reward_mode)

    def _read_tokenizer(self) -> None:
        table = NumberTable.from_tokenizer(self._tokenizer, self._table.kind, vocab_size=len(self._token_values))
        self._token_values, self._decode = np.asarray(table.token_values), TokenDecoder(self._tokenizer)
