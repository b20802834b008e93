# SPDX-License-Identifier: Apache-2.0
"""Chooses the task of a configuration."""

import contextlib
import pathlib
from collections.abc import Sequence

from ntl_jax.config import GYM, AnswerSection, DataSection, is_own
from ntl_jax.data import Message, Problem, Split
from ntl_jax.data.files import Source, are_same_rows, find_source
from ntl_jax.numerals import Answer, AnswerMarkers
from ntl_jax.tasks.arithmetic.task import Arithmetic
from ntl_jax.tasks.calculations import Calculations
from ntl_jax.tasks.files import Files
from ntl_jax.tasks.gym import ReasoningGym
from ntl_jax.tasks.judged import JudgedTask
from ntl_jax.tasks.own import SPLITS, OwnTask
from ntl_jax.tasks.task import Task

NO_CHANGE = AnswerSection()
"""Leaves answers to the task."""


def check_apart(data: DataSection) -> None:
    """Checks that a new run is not evaluated on a source that it is trained on.

    Args:
        data: the ``data`` section.

    Raises:
        ValueError: if both settings name one file, or one split of a data set.

    Example:
        >>> check_apart(DataSection())
    """
    train = _sources(data.train)
    for source in _sources(data.eval):
        if any(are_same_rows(source, other) for other in train):
            raise ValueError(
                f"data.eval={source.text!r} is a source of data.train too: accuracy on problems that the policy was "
                "trained on says nothing about new ones; give one with other problems"
            )


def _sources(names: tuple[str, ...]) -> list[Source]:
    """Those that can be found; the others are named when they are read."""
    found = []
    for name in names:
        with contextlib.suppress(ValueError, OSError):
            found.append(find_source(name))
    return found


def choose_task(
    data: DataSection, answer: AnswerSection = NO_CHANGE, *, seed: int, num_eval: int | None, numeric: bool
) -> Task:
    """The task of the ``data`` section: files and data sets if it names them, else a generator.

    Args:
        data: the ``data`` section.
        answer: how answers are found and compared, if not as the task does it.
        seed: seed of the generator.
        num_eval: number of held-out problems from the generator; sources are loaded whole.
        numeric: whether every reference answer must be a number, as the rewards of `ntl_jax.rewards` require.

    Example:
        >>> task = choose_task(DataSection(num_train=3), seed=0, num_eval=2, numeric=True)
        >>> [len(task.load(split)[0]) for split in ("train", "held_out")]
        [3, 2]
    """
    endless = num_eval is None and not is_own(data.task)
    assert data.eval or not (data.train or endless), "validate() refuses both"
    numbers = numeric or (data.task or "").startswith(GYM)  # which finds no other answers
    files = Files(data.train, data.eval, fields=data.fields, on_bad_row=data.on_bad_row, numeric=numbers)
    task: Task = files
    if not data.train:
        generated = _generator(data, num_held_out=num_eval or 0, seed=seed)
        judge = generated if _has_judgment(data.task) else files
        task = TwoSources(train=generated, held_out=files, judge=judge) if data.eval else generated
    return task if answer == NO_CHANGE else JudgedTask(task, answer, numeric=numeric)


def without_problems(data: DataSection, answer: AnswerSection = NO_CHANGE, *, numeric: bool) -> Task:
    """The task of the ``data`` section for questions of one's own: it finds and judges answers, and has no problems.

    Args:
        data: the ``data`` section; its sources are not read.
        answer, numeric: as in `choose_task`.

    Example:
        >>> task = without_problems(DataSection(eval=("gone.jsonl",)), numeric=False)
        >>> task.answer_of("#### Paris").text
        'Paris'
    """
    judged_by_files = data.train or (data.eval and not _has_judgment(data.task))
    task = Files((), (), numeric=numeric) if judged_by_files else _generator(data, num_held_out=1, seed=0)
    return task if answer == NO_CHANGE else JudgedTask(task, answer, numeric=numeric)


def source_name(data: DataSection, task: Task) -> str:
    """What rewards receive as ``data_source`` of questions of one's own: the name in the first held-out problem.

    Args:
        data: the ``data`` section; where its files are gone, the first of them names the questions.
        task: from `choose_task` or `without_problems`.

    Example:
        >>> data = DataSection(task="calculations")
        >>> source_name(data, without_problems(data, numeric=True))
        'calculations'
    """
    if not data.eval:
        return task.load("held_out")[0][0].data_source
    with contextlib.suppress(ValueError, OSError):
        files = Files((), data.eval, fields=data.fields, on_bad_row="skip", numeric=False)
        return files.load("held_out")[0][0].data_source
    return next((source.name for source in _sources(data.eval)), pathlib.Path(data.eval[0]).stem)


def _has_judgment(task: str | None) -> bool:
    """Whether answers to other problems than its own are found and judged by this task too."""
    return task is not None and (is_own(task) or task.startswith(GYM))


def _generator(data: DataSection, *, num_held_out: int, seed: int) -> Task:
    options = dict(option.split("=", 1) for option in data.task_options)
    sizes = {"num_train": data.num_train, "num_held_out": num_held_out, "seed": seed}
    if data.task is None:
        return Arithmetic(**sizes, tiers=data.tiers, max_number=data.max_number)
    if data.task == "calculations":
        return Calculations(**sizes, operations=data.operations, max_number=data.max_number)
    if is_own(data.task):
        return OwnTask(data.task, options, splits=("train",) if data.eval else SPLITS)
    return ReasoningGym(data.task.removeprefix(GYM), **sizes, options=options)


class TwoSources(Task):
    """Training problems of one task and held-out problems of another.

    Args:
        train, held_out: have the problems.
        judge: of the two, the one that asks all problems, and reads and judges all answers.

    Example:
        >>> generated, files = choose_task(DataSection(num_train=3), seed=0, num_eval=2, numeric=True), Files((), ())
        >>> len(TwoSources(train=generated, held_out=files, judge=files).load("train")[0])
        3
    """

    def __init__(self, *, train: Task, held_out: Task, judge: Task):
        self._sources: dict[Split, Task] = {"train": train, "held_out": held_out}
        self._judge = judge

    @property
    def markers(self) -> AnswerMarkers:
        return self._judge.markers

    def load(self, split: Split) -> tuple[list[Problem], int]:
        return self._sources[split].load(split)

    def render(self, problem: Problem) -> str | Sequence[Message]:
        return self._judge.render(problem)

    def answer_of(self, text: str) -> Answer | None:
        return self._judge.answer_of(text)

    def as_written(self, answer: Answer, text: str) -> Answer:
        return self._judge.as_written(answer, text)

    def is_correct(self, answer: Answer | None, reference: str) -> bool:
        return self._judge.is_correct(answer, reference)

    def default_reward(self, *, ntl: bool) -> str:
        return self._judge.default_reward(ntl=ntl)

    def close(self) -> None:
        for task in self._sources.values():
            task.close()
