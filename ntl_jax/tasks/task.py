# SPDX-License-Identifier: Apache-2.0
"""The interface of a task: its problems, their prompts, how to find a response's answer, and when it is right."""

import abc
from collections.abc import Sequence

from ntl_jax.data import Message, Problem, Split
from ntl_jax.numerals import DEFAULT_MARKERS, Answer, AnswerMarkers, agrees, find_answer


class Undecided(ValueError):
    """An answer that could not be found or compared in time: it counts as wrong, and is counted."""


class Task(abc.ABC):
    """What a policy is trained and evaluated on.

    A task must say what its problems are. All else is that of tasks whose answers are numbers; a task with other
    answers finds them with `ntl_jax.numerals.find_text_answer`, or builds `Answer` itself.
    """

    @property
    def markers(self) -> AnswerMarkers:
        """How texts mark their answer."""
        return DEFAULT_MARKERS

    @abc.abstractmethod
    def load(self, split: Split) -> tuple[list[Problem], int]:
        """The problems of a split, and how many malformed rows were left out.

        Raises:
            ValueError: if the problems cannot be read, saying what is wrong and where.
        """

    def render(self, problem: Problem) -> str | Sequence[Message]:
        """What is asked: a text with the question unchanged in it, or messages of which the last is the user's.

        The settings of the section ``prompt`` put it into the prompt.
        """
        return problem.question

    def answer_of(self, text: str) -> Answer | None:
        """The answer in a response; None if there is none. Each response is read once, and the result is passed on.

        Raises:
            Undecided: if it is not found in time.
        """
        return find_answer(text, self.markers)

    def as_written(self, answer: Answer, text: str) -> Answer:
        """An answer that the settings of the section ``answer`` have found in a text, as `is_correct` takes it.

        Only for a task to which equal numbers may be different answers, such as 1/2 and 2/4.
        """
        return answer

    def is_correct(self, answer: Answer | None, reference: str) -> bool:
        """Whether an answer from `answer_of` is right.

        Args:
            answer: the response's answer.
            reference: the problem's ground truth.

        Raises:
            Undecided: if they are not compared in time.
        """
        return agrees(answer, reference, self.markers)

    def default_reward(self, *, ntl: bool) -> str:
        """The reward function if a run sets none, in the form of ``reward.function``.

        Args:
            ntl: whether the function receives an NTL record.
        """
        return "ntl_jax.rewards:ntl_reward" if ntl else "ntl_jax.rewards:exact_match"

    def close(self) -> None:  # noqa: B027  most tasks start nothing
        """Ends the processes that the task has started, if any."""
