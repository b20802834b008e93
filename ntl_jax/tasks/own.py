# SPDX-License-Identifier: Apache-2.0
"""A task of the user's own, from a file: loaded and tried out before a run starts."""

import contextlib
import difflib
import importlib.util
import inspect
import pathlib
import pickle
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence

from ntl_jax.config import QUESTION, from_home
from ntl_jax.data import Message, Problem, Split
from ntl_jax.numerals import Answer, AnswerMarkers
from ntl_jax.tasks.task import Task, Undecided

SPLITS: tuple[Split, ...] = ("train", "held_out")


class OwnTask(Task):
    """A task from a file, checked; its problems are loaded once. An answer on which its code fails is undecided.

    Args:
        spec: ``path.py:Class``, a class derived from `Task`.
        options: keyword arguments of the class, as texts.
        splits: those that are needed; the first is.

    Raises:
        ValueError: naming ``data.task``, if the file, the class or what it returns is not usable.
    """

    def __init__(self, spec: str, options: Mapping[str, str], splits: Sequence[Split] = SPLITS):
        self._given = f"data.task={spec!r}"
        self._task = _made(self._given, _class(self._given, spec), options)
        self._loaded: dict[Split, tuple[list[Problem], int]] = {}
        for split in splits:
            self._loaded[split] = self._load(split)
        self._try_out(self._loaded["train"][0][0])

    @property
    def markers(self) -> AnswerMarkers:
        return self._task.markers

    def load(self, split: Split) -> tuple[list[Problem], int]:
        return self._loaded[split]

    def render(self, problem: Problem) -> str | Sequence[Message]:
        given = f"{self._given}: render of the question {problem.text!r:.80}"
        try:
            rendered = self._task.render(problem)
        except Exception as error:  # the user's code may raise anything
            why = f", which stands for any question, to see what is around it{_where(error)}"
            where = why if problem.text == QUESTION else _where(error)
            raise ValueError(f"{given} fails{where}: {_what(error)}") from error
        if fault := _turns_fault(rendered):
            raise ValueError(f"{given} {fault}")
        return rendered

    def answer_of(self, text: str) -> Answer | None:
        with self._deciding("answer_of"):
            return _an_answer(self._task.answer_of(text))

    def as_written(self, answer: Answer, text: str) -> Answer:
        with self._deciding("as_written"):
            return self._task.as_written(answer, text)

    def is_correct(self, answer: Answer | None, reference: str) -> bool:
        with self._deciding("is_correct"):
            return bool(self._task.is_correct(answer, reference))

    def default_reward(self, *, ntl: bool) -> str:
        return self._task.default_reward(ntl=ntl)

    def close(self) -> None:
        self._task.close()

    @contextlib.contextmanager
    def _deciding(self, method: str) -> Iterator[None]:
        """What the user's code raises does not end the run: the answer is undecided."""
        try:
            yield
        except Undecided:
            raise
        except Exception as error:  # the user's code may raise anything
            raise Undecided(f"{self._given}: {method} fails{_where(error)}: {_what(error)}") from error

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
        self.render(problem)
        try:
            if not isinstance(self._task.markers, AnswerMarkers):
                raise TypeError(f"markers must be AnswerMarkers, is {self._task.markers!r:.80}")
            answer = _an_answer(self._task.answer_of(problem.solution))
            right = self._task.is_correct(answer, problem.ground_truth)
            if not isinstance(reward := self._task.default_reward(ntl=True), str):
                raise TypeError(f"default_reward must return a text, not {reward!r:.80}")
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
    for name in ("solution", "ground_truth", "data_source"):
        if not isinstance(getattr(problem, name), str):
            return f"{name} must be a text, is {getattr(problem, name)!r:.80}"
    if not isinstance(problem.question, str | tuple):
        return f"question must be a text or a tuple of messages, is {problem.question!r:.80}"
    if fault := _turns_fault(problem.question):
        return f"question {fault}"
    if not isinstance(problem.index, int) or problem.index < 0:
        return "index must be a whole number from 0"
    if not problem.text.strip() or not problem.ground_truth.strip():
        return f"the {'ground_truth' if problem.text.strip() else 'question'} is empty"
    extra_info = problem.extra_info
    if not isinstance(extra_info, Mapping) or not all(isinstance(key, str) for key in extra_info):
        return f"extra_info must be a mapping from texts, is {extra_info!r:.80}"
    try:
        pickle.dumps(dict(extra_info))
    except Exception as error:  # values may raise anything
        return f"extra_info cannot be sent to the process of a reward function: {_what(error)}"
    return None


def _turns_fault(asked: object) -> str | None:
    """What is wrong with a question as a text or messages."""
    if isinstance(asked, str):
        return None
    turns = asked if isinstance(asked, list | tuple) else ()
    texts = [turn.get(name) if isinstance(turn, dict) else None for turn in turns for name in ("role", "content")]
    if texts and all(isinstance(text, str) for text in texts):
        return None
    return f"must be a text, or messages with a `role` and a `content`, both texts; is {asked!r:.80}"


def _an_answer(found: object) -> Answer | None:
    """What `answer_of` has returned; raises a TypeError for anything else."""
    if found is not None and not isinstance(found, Answer):
        raise TypeError(f"answer_of must return an Answer or None, not {found!r:.80}")
    return found


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
