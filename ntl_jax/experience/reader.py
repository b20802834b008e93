# SPDX-License-Identifier: Apache-2.0
"""Reads a response once: its text, its answer and the true digits."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ntl_jax.config import NTLSection
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.numerals import Answer, DigitLabels, NumberTable, TokenDecoder, label_response, sampled_numbers
from ntl_jax.numerals.kinds import token_kinds
from ntl_jax.records import Prompt, Trajectory
from ntl_jax.tasks import Task, Undecided

LOGGER = logging.getLogger("ntl_jax.answers")
"""The logger of answers that could not be found or compared in time."""


class Reading(NamedTuple):
    """One response, read.

    Args:
        text: the response.
        starts: first character of each token in the text.
        answer: the answer that it gives; None if it gives none.
        exact_match: whether the task judges the answer right.
        labels: true digits; None without NTL.
        undecided: the answer could not be found or compared in time, and counts as wrong.
        kinds: kind of each token, an index into `KINDS`.
    """

    text: str
    starts: Int[np.ndarray, "T"]
    answer: Answer | None
    exact_match: bool
    labels: DigitLabels | None
    undecided: bool
    kinds: Int[np.ndarray, "T"]


class Reader:
    """Reads responses.

    Args:
        section: the ``ntl`` section.
        task: finds the answer in a text and judges it.
        tokenizer: the policy's tokenizer.
        table: the tokenizer's number tokens.
    """

    def __init__(self, section: NTLSection, task: Task, tokenizer: Tokenizer, table: NumberTable):
        self._section, self._task, self._tokenizer, self._table = section, task, tokenizer, table
        self.kind = table.kind
        self._decode = TokenDecoder(tokenizer)
        self._token_values = np.asarray(table.token_values)

    def __call__(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory]) -> list[Reading]:
        """Reads the responses.

        Args:
            prompts: one per response.
            trajectories: the responses.
        """
        self._follow_tokenizer()
        return [self._read(prompt, t) for prompt, t in zip(prompts, trajectories, strict=True)]

    def labels(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory]) -> list[DigitLabels]:
        """Only the labels, whatever the settings."""
        self._follow_tokenizer()
        labels = []
        for prompt, trajectory in zip(prompts, trajectories, strict=True):
            text, starts = self._decode(trajectory.response_ids)
            labels.append(self._label(prompt, trajectory, text, starts, self._answer(text)))
        return labels

    def _read(self, prompt: Prompt, trajectory: Trajectory) -> Reading:
        text, starts = self._decode(trajectory.response_ids)
        answer, exact_match, undecided = None, False, False
        try:
            answer = self._task.answer_of(text)
            exact_match = self._task.is_correct(answer, prompt.ground_truth)
        except Undecided as error:
            undecided = True
            LOGGER.warning("problem %d, sample %d: %s", prompt.index, trajectory.sample_index, error)
        labels = self._label(prompt, trajectory, text, starts, answer) if self._section.enabled else None
        numbers = sampled_numbers(trajectory.response_ids, self._token_values)
        kinds = token_kinds(text, starts, numbers, answer)
        return Reading(text, starts, answer, exact_match, labels, undecided, kinds)

    def _answer(self, text: str) -> Answer | None:
        try:
            return self._task.answer_of(text)
        except Undecided:
            return None

    def _label(
        self, prompt: Prompt, trajectory: Trajectory, text: str, starts: np.ndarray, answer: Answer | None
    ) -> DigitLabels:
        numbers = sampled_numbers(trajectory.response_ids, self._token_values)
        settings = {"mode": self._section.reward_mode, "markers": self._task.markers}
        return label_response(text, starts, numbers, prompt.ground_truth, answer=answer, **settings)

    def _follow_tokenizer(self) -> None:
        """Reads the tokenizer again, where the settings say that it may change."""
        if self._section.cache_digit_mappings:
            return
        table = NumberTable.from_tokenizer(self._tokenizer, self._table.kind, vocab_size=len(self._token_values))
        self._token_values, self._decode = np.asarray(table.token_values), TokenDecoder(self._tokenizer)
