# SPDX-License-Identifier: Apache-2.0
"""The contract of a task: what is asked, how it is shown, what the answer of a text is, and when it is right."""

import abc
from typing import Literal

from ntl_jax.data import Problem
from ntl_jax.numerals import Answer, AnswerMarkers

Split = Literal["train", "held_out"]
"""Problems to learn from, or to evaluate on."""

Message = dict[str, str]
"""One turn of a chat: ``role`` and ``content``."""


class Task(abc.ABC):
    """What a policy is trained and evaluated on.

    ``tasks/gsm8k.py`` is an example. A task of your own reads its answers with `ntl_jax.numerals.find_answer` (numbers)
    or `find_text_answer` (any text), or builds `Answer` itself.
    """

    @property
    @abc.abstractmethod
    def markers(self) -> AnswerMarkers:
        """How texts mark their answer."""

    @abc.abstractmethod
    def load(self, split: Split) -> tuple[list[Problem], int]:
        """The problems of a split, and how many malformed rows were left out.

        Raises:
            ValueError: the problems cannot be read, with what is wrong and where.
        """

    @abc.abstractmethod
    def render(self, problem: Problem) -> str | list[Message]:
        """How the policy is asked: a text in which the question appears as it is.

        Messages of a chat are a prompt too, but `ntl_jax.data.encode_prompts` does not take them.
        """

    @abc.abstractmethod
    def answer_of(self, text: str) -> Answer | None:
        """The answer that a response gives; None if it gives none. It is read once and carried from there."""

    @abc.abstractmethod
    def is_correct(self, answer: Answer | None, reference: str) -> bool:
        """Whether an answer of `answer_of` is right.

        Args:
            answer: of the response.
            reference: the problem's ground truth.
        """

    @abc.abstractmethod
    def default_reward(self, *, ntl: bool) -> str:
        """The reward function for runs that set none, as ``reward.function`` would name it.

        Args:
            ntl: the function gets an NTL record.
        """


def numeric_reward(*, ntl: bool) -> str:
    """The default reward of tasks whose answers are numbers.

    Example:
        >>> numeric_reward(ntl=True)
        'ntl_jax.rewards:ntl_reward'
    """
    return "ntl_jax.rewards:ntl_reward" if ntl else "ntl_jax.rewards:exact_match"
