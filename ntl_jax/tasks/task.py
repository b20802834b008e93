# SPDX-License-Identifier: Apache-2.0
"""The interface of a task: its problems, their prompts, how to find a response's answer, and when it is right."""

import abc
from typing import Literal

from ntl_jax.data import Message, Problem
from ntl_jax.numerals import Answer, AnswerMarkers

Split = Literal["train", "held_out"]
"""Problems to learn from, or to evaluate on."""


class Task(abc.ABC):
    """What a policy is trained and evaluated on.

    ``tasks/gsm8k.py`` is an example. A task of your own finds answers with `ntl_jax.numerals.find_answer` (numbers) or
    `find_text_answer` (any text), or builds `Answer` itself.
    """

    @property
    @abc.abstractmethod
    def markers(self) -> AnswerMarkers:
        """How texts mark their answer."""

    @abc.abstractmethod
    def load(self, split: Split) -> tuple[list[Problem], int]:
        """The problems of a split, and how many malformed rows were left out.

        Raises:
            ValueError: if the problems cannot be read, saying what is wrong and where.
        """

    @abc.abstractmethod
    def render(self, problem: Problem) -> str | list[Message]:
        """The problem's prompt: a text that contains the question unchanged.

        Chat messages are allowed here, but `ntl_jax.data.encode_prompts` does not accept them.
        """

    @abc.abstractmethod
    def answer_of(self, text: str) -> Answer | None:
        """The answer in a response; None if there is none. Each response is read once, and the result is passed on."""

    @abc.abstractmethod
    def is_correct(self, answer: Answer | None, reference: str) -> bool:
        """Whether an answer from `answer_of` is right.

        Args:
            answer: the response's answer.
            reference: the problem's ground truth.
        """

    @abc.abstractmethod
    def default_reward(self, *, ntl: bool) -> str:
        """The reward function if a run sets none, in the form of ``reward.function``.

        Args:
            ntl: whether the function receives an NTL record.
        """


def numeric_reward(*, ntl: bool) -> str:
    """The default reward of tasks whose answers are numbers.

    Example:
        >>> numeric_reward(ntl=True)
        'ntl_jax.rewards:ntl_reward'
    """
    return "ntl_jax.rewards:ntl_reward" if ntl else "ntl_jax.rewards:exact_match"
