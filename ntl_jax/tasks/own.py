# SPDX-License-Identifier: Apache-2.0
"""A task of the user's own, from a file: loaded and tried out before a run starts."""

import difflib
import importlib.util
import inspect
import pathlib
import sys
import traceback
from collections.abc import Mapping, Sequence

from ntl_jax.config import from_home
from ntl_jax.data import Message, Problem, Split
from ntl_jax.numerals import Answer, AnswerMarkers
from ntl_jax.tasks.task import Task

SPLITS: tuple[Split, ...] = ("train", "held_out")


class OwnTask(Task):
    """A task from a file, checked; its problems are loaded once.

    Args:
        spec: ``path.py:Class``, a class derived from `Task`.
        options: keyword arguments of the class, as texts.

    Raises:
        ValueError: naming ``data.task``, if the file, the class or what it returns is not usable.
    """

    def __init__(self, spec: str, options: Mapping[str, str]):
        self._given = f"data.task={spec!r}"
        self._task = _made(self._given, _class(self._given, spec), options)
        self._loaded: dict[Split, tuple[list[Problem], int]] = {}
        for split in SPLITS:
            self._loaded[split] = self._load(split)
        self._try_out(self._loaded["train"][0][0])

    @property
    def markers(self) -> AnswerMarkers:
        return self._task.markers

    def load(self, split: Split) -> tuple[list[Problem], int]:
        return self._loaded[split]

    def render(self, problem: Problem) -> str | Sequence[Message]:
        return self._task.render(problem)

    def answer_of(self, text: str) -> Answer | None:
        return self._task.answer_of(text)

    def is_correct(self, answer: Answer | None, reference: str) -> bool:
        return self._task.is_correct(answer, reference)

    def default_reward(self, *, ntl: bool) -> str:
        return self._task.default_reward(ntl=ntl)

    def close(self) -> None:
        self._task.close()

    def _load(self, split: Split) -> tuple[list[Problem], int]:
        called = f"{self._given}: load({split!r})"
        try:
            loaded = self._task.load(split)
        except Exception as error:  # the user's code may raise anything
            raise ValueError(f"{called} fails{_where(error)}: {_what(error)}") from error
        match loaded:
            case ([*problems], int(skipped)) if all(isinstance(problem, Problem) for problem in problems):
                pass
            case _:
                raise ValueError(
                    f"{called} must return a list of Problem and how many rows were left out, not {loaded!r:.80}"
                )
        if not problems:
            raise ValueError(f"{called} returns no problems")
        for problem in problems:
            if fault := _fault(problem):
                raise ValueError(f"{called}: of problem {problem.index!r}, {fault}")
        if len({problem.index for problem in problems}) < len(problems):
            raise ValueError(f"{called}: problems must have different indices")
        return problems, skipped

    def _try_out(self, problem: Problem) -> None:
        """Has the task ask its first problem and judge the reference solution."""
        try:
            self._task.render(problem)
            right = self._task.is_correct(self._task.answer_of(problem.solution), problem.ground_truth)
            self._task.default_reward(ntl=True)
        except Exception as error:  # the user's code may raise anything
            raise ValueError(
                f"{self._given}: a trial with its first problem fails{_where(error)}: {_what(error)}"
            ) from error
        if problem.solution and not right:
            raise ValueError(
                f"{self._given}: by its own answer_of and is_correct, the solution {problem.solution!r:.80} of problem "
                f"{problem.index} is not {problem.ground_truth!r:.80}"
            )


def _class(given: str, spec: str) -> type[Task]:
    """The class in the file, which is run."""
    file, _, name = spec.rpartition(":")
    path = from_home(file)
    if not path.is_file():
        raise ValueError(f"{given}: there is no file {str(path.absolute())!r}")
    try:
        module = _run(path)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ValueError(f"{given}: importing it fails{_where(error)}: {_what(error)}") from error
    names = vars(module)
    if name not in names:
        near = difflib.get_close_matches(name, [key for key in names if not key.startswith("_")], n=1)
        raise ValueError(f"{given}: {file} has no {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    found = names[name]
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ValueError(f"{given}: {name} must be a class derived from ntl_jax.tasks.Task")
    return found


def _run(path: pathlib.Path):
    module_spec = importlib.util.spec_from_file_location(f"task_file_{path.stem}", path)
    assert module_spec and module_spec.loader
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # dataclasses look modules up by name
    folder = str(path.absolute().parent)
    if folder not in sys.path:  # as for a script: files beside it can be imported
        sys.path.insert(0, folder)
    module_spec.loader.exec_module(module)
    return module


def _made(given: str, task: type[Task], options: Mapping[str, str]) -> Task:
    try:
        return task(**options)
    except Exception as error:  # the user's code may raise anything
        call = f"{task.__name__}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
        takes = f"; it takes {inspect.signature(task)}" if isinstance(error, TypeError) else ""
        raise ValueError(
            f"{given}: {call} fails{_where(error)}: {_what(error)}{takes}; data.task_options sets its arguments"
        ) from error


def _fault(problem: Problem) -> str | None:
    """What is wrong with a problem."""
    for name in ("solution", "ground_truth", "source"):
        if not isinstance(getattr(problem, name), str):
            return f"{name} must be a text, is {getattr(problem, name)!r:.80}"
    if not isinstance(problem.question, str | tuple):
        return f"question must be a text or a tuple of messages, is {problem.question!r:.80}"
    if not isinstance(problem.index, int) or problem.index < 0:
        return "index must be a whole number from 0"
    if not problem.text.strip() or not problem.ground_truth.strip():
        return f"the {'ground_truth' if problem.text.strip() else 'question'} is empty"
    return None


def _where(error: BaseException) -> str:
    """The line of the user's code, behind " at line"."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    theirs = [frame for frame in frames if pathlib.Path(frame.filename) != pathlib.Path(__file__)]
    if isinstance(error, SyntaxError):
        return f" at line {error.lineno} of {error.filename}"
    return f" at line {theirs[-1].lineno} of {theirs[-1].filename}" if theirs else ""


def _what(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split()):.300}".rstrip(": ")
