# SPDX-License-Identifier: Apache-2.0
"""A task whose answers are found and compared as the section ``answer`` says."""

from collections.abc import Sequence
from fractions import Fraction

import regex

from ntl_jax.config import GYM, AnswerSection, DataSection, is_own
from ntl_jax.data import Message, Problem, Split
from ntl_jax.numerals import (
    Answer,
    AnswerMarkers,
    answer_at,
    find_answer,
    find_text_answer,
    reference_number,
)
from ntl_jax.tasks.math_verifier import MathVerifier
from ntl_jax.tasks.task import Task, Undecided

PATTERN_TIMEOUT_S = 1.0
"""Some patterns take exponentially long on some texts; the package `regex` can stop, Python's `re` cannot."""

FORMS = {
    "auto": "what follows ####, else the last \\boxed{}, else the last number",
    "line": "what follows ####",
    "box": "the last \\boxed{}",
    "last_number": "the last number",
}
"""Where answers are found, by ``answer.form``."""


def describe_answers(answer: AnswerSection, data: DataSection) -> str:
    """How the answer of a response is found, and when it is right.

    Args:
        answer, data: these sections of the configuration.

    Example:
        >>> describe_answers(AnswerSection(form="last_number", tolerance=0.01), DataSection())
        'the last number; right within 0.01 of the reference'
    """
    task = None if data.train else data.task
    found = FORMS[answer.form]
    if answer.pattern is not None:
        found = f"the last match of {answer.pattern!r}"
    elif answer.form == "auto" and is_own(task):
        found = f"as {task} says"
    right = f"within {answer.tolerance:g} of" if answer.tolerance else "if exactly"
    judge = " by the generator's scorer" if task is not None and task.startswith(GYM) else ""
    return f"{found}; right {right} the reference{judge}" + ("" if answer.verifier == "none" else ", or by math-verify")


class JudgedTask(Task):
    """Another task's problems, with answers as the settings say.

    Args:
        task: has the problems, and says what the settings leave to it.
        section: the ``answer`` section.
        numeric: whether answers must be numbers.

    Raises:
        ValueError: if ``answer.verifier`` needs a package that is not installed.

    Example:
        >>> from ntl_jax.tasks.calculations import Calculations
        >>> sums = Calculations(num_train=1, num_held_out=1, seed=0)
        >>> task = JudgedTask(sums, AnswerSection(pattern="so (.*?) is", tolerance=0.1), numeric=True)
        >>> answer = task.answer_of("We add 3, so 46 is it, or 5.")
        >>> answer.text, task.is_correct(answer, "47"), task.is_correct(answer, "5")
        ('46', True, False)
    """

    def __init__(self, task: Task, section: AnswerSection, *, numeric: bool):
        self._task, self._section, self._numeric = task, section, numeric
        self._pattern = None if section.pattern is None else regex.compile(section.pattern)
        self._verifier = MathVerifier() if section.verifier == "math_verify" else None

    @property
    def markers(self) -> AnswerMarkers:
        return self._task.markers

    def load(self, split: Split) -> tuple[list[Problem], int]:
        return self._task.load(split)

    def render(self, problem: Problem) -> str | Sequence[Message]:
        return self._task.render(problem)

    def default_reward(self, *, ntl: bool) -> str:
        return self._task.default_reward(ntl=ntl)

    def as_written(self, answer: Answer, text: str) -> Answer:
        return self._task.as_written(answer, text)

    def answer_of(self, text: str) -> Answer | None:
        if self._pattern is None and self._section.form == "auto":
            return self._task.answer_of(text)
        answer = self._found(text)
        return None if answer is None else self.as_written(answer, text)

    def _found(self, text: str) -> Answer | None:
        """The answer where the settings look for it."""
        if self._pattern is not None:
            return self._matched(self._pattern, text)
        markers = self.markers
        match self._section.form:
            case "line":
                return self._marked(text, AnswerMarkers(line=markers.line, box=None))
            case "box":
                return self._marked(text, AnswerMarkers(line=None, box=markers.box))
            case _:
                return find_answer(text, AnswerMarkers(line=None, box=None))

    def is_correct(self, answer: Answer | None, reference: str) -> bool:
        if self._task.is_correct(answer, reference) or self._is_close(answer, reference):
            return True
        return answer is not None and self._verifier is not None and self._verifier(answer.text, reference)

    def close(self) -> None:
        """Ends the processes of the verifier and of the other task."""
        if self._verifier is not None:
            self._verifier.close()
        self._task.close()

    def _matched(self, pattern: regex.Pattern[str], text: str) -> Answer | None:
        last = None
        try:
            for match in pattern.finditer(text, timeout=PATTERN_TIMEOUT_S):
                last = match if match.start(1) >= 0 else last
        except TimeoutError as error:
            raise Undecided(
                f"answer.pattern={self._section.pattern!r} takes longer than {PATTERN_TIMEOUT_S:g} s"
            ) from error
        return None if last is None else answer_at(text, *last.span(1), numeric=self._numeric)

    def _marked(self, text: str, markers: AnswerMarkers) -> Answer | None:
        answer = find_answer(text, markers) if self._numeric else find_text_answer(text, markers)
        return answer if answer is not None and answer.marked else None

    def _is_close(self, answer: Answer | None, reference: str) -> bool:
        if not self._section.tolerance or answer is None or answer.value is None:
            return False
        true = reference_number(reference, self.markers)
        if true is None or true.value is None:
            return False
        return abs(answer.value - true.value) <= Fraction(str(self._section.tolerance)) * abs(true.value)
