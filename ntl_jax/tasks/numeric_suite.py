# SPDX-License-Identifier: Apache-2.0
"""The numeric suite: held-out problems in parts, by what is computed and how large the numbers are.

Generated word problems and calculations, in three ranges of numbers: what the policy was trained on, if that is known,
ten times as far and a hundred times as far. Generators of reasoning-gym, where it is installed. Files, where they are
given. Numbers are compared by value in all parts.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from ntl_jax.config import GYM, DataSection, FieldsSection, Operation
from ntl_jax.data import Problem, Split
from ntl_jax.data.files import OnBadRow
from ntl_jax.tasks.arithmetic.generator import HIGH_TIER_SCALE, Operator, held_out_between
from ntl_jax.tasks.calculations import Calculations
from ntl_jax.tasks.files import Files
from ntl_jax.tasks.gym import NUMERIC, QUANTITIES, ReasoningGym, is_installed
from ntl_jax.tasks.task import Task

SEED = 0
"""Of the generators, whatever the run's: runs that were trained on the same ranges are asked the same problems."""
FIRST_RANGE = 10
"""Largest number of the first range where no training is known."""
MOST_STEPS = 4
FARTHEST = 10**6
"""Ranges beyond it are left out: the results of several steps would exceed those that the generator makes."""

Kind = Literal["words", "calculations", "reasoning_gym", "file"]
Reach = Literal["interpolation", "extrapolation"]


class Part(NamedTuple):
    """Problems of one kind.

    Args:
        name: different for each part.
        kind: where they come from.
        operation: which one they ask for; None: several, or another.
        numbers: the largest number in each question exceeds the first and not the second; None: not known.
        reach: interpolation: the policy was trained on problems like these. extrapolation: on such problems with
            smaller numbers or fewer steps. None: neither is known.
        problems: held out from training on the same generator; fewer than asked for if there are no more.
    """

    name: str
    kind: Kind
    operation: str | None
    numbers: tuple[int, int] | None
    reach: Reach | None
    problems: Sequence[Problem]


class NumericSuite(Task):
    """The suite as a task, whose problems are all held out.

    Args:
        num: problems of a part.
        trained: the ``data`` section that the policy was trained with; None: not known.
        files: sources of more parts, one each, as ``data.eval`` takes them.
        num_of_file: problems of such a part, the first ones; None: all.
        fields: names of the files' fields.
        generators: of reasoning-gym, one part each; left out where the package is not installed. The one that was
            trained on is one more.
        on_bad_row: whether malformed rows of files raise an error, or are left out and counted.

    Raises:
        ValueError: for a source that cannot be used.

    Example:
        >>> suite = NumericSuite(8, DataSection(task="calculations", max_number=50), generators=())
        >>> [(part.name, part.reach) for part in suite.parts if part.operation == "+"][3:5]
        [('calculations +, to 50', 'interpolation'), ('calculations +, 51 to 500', 'extrapolation')]
    """

    def __init__(
        self,
        num: int,
        trained: DataSection | None = None,
        *,
        files: Sequence[str] = (),
        num_of_file: int | None = None,
        fields: FieldsSection | None = None,
        on_bad_row: OnBadRow = "error",
        generators: Sequence[str] = QUANTITIES,
    ):
        read = Files((), files, fields=fields, on_bad_row=on_bad_row) if files else None  # first: it may be wrong
        of_files, self._num_skipped = ([], 0) if read is None else read.load("held_out")
        parts = [*_words(num, trained), *_calculations(num, trained), *_gym(num, trained, generators)]
        for index, source in enumerate(files):
            problems = [problem for problem in of_files if problem.source_index == index][:num_of_file]
            parts.append(Part(f"file {source}", "file", None, None, None, problems))
        self.parts = tuple(part for part in parts if part.problems)

    @property
    def about(self) -> str:
        """Where the problems come from, in words."""
        without = "" if is_installed() else ", without reasoning-gym, which is not installed"
        return f"the numeric suite, in {len(self.parts)} parts{without}"

    def load(self, split: Split) -> tuple[list[Problem], int]:
        """The held-out problems, with the part of each as ``source_index``."""
        assert split == "held_out", "nothing is trained on a suite"
        problems = [
            dataclasses.replace(problem, index=i, data_source=part.name, source_index=source)
            for source, part in enumerate(self.parts)
            for i, problem in enumerate(part.problems)
        ]
        return problems, self._num_skipped


def _words(num: int, trained: DataSection | None) -> Iterator[Part]:
    """Word problems by operation, or by steps if there are several; with one step more than was trained on."""
    section = _if_trained_on(None, trained)
    steps = (1, 2) if section is None else sorted({*section.tiers, min(max(section.tiers) + 1, MOST_STEPS)})
    for low, high in _ranges(section):
        for tier in steps:
            operations: tuple[Operator | None, ...] = get_args(Operator) if tier == 1 else (None,)
            scale = 1 if tier <= 2 else HIGH_TIER_SCALE
            reach = section and _reach(low == 0 and tier in section.tiers)
            for operation in operations:
                name = f"words {operation or f'{tier} steps'}, {_range(low * scale, high * scale)}"
                problems = held_out_between(low, high, num, seed=SEED, tier=tier, operation=operation)
                yield Part(name, "words", operation, (low * scale, high * scale), reach, problems)


def _calculations(num: int, trained: DataSection | None) -> Iterator[Part]:
    section = _if_trained_on("calculations", trained)
    sizes = {"num_train": 0, "num_held_out": 2 * num, "seed": SEED}  # hardly any of them has small numbers only
    for low, high in _ranges(section):
        for operation in get_args(Operation):
            made, _ = Calculations(**sizes, max_number=high, operations=(operation,)).load("held_out")
            problems = [problem for problem in made if _largest(problem) > low or not low][:num]
            reach = _reach(low == 0) if section and operation in section.operations else None
            name = f"calculations {operation}, {_range(low, high)}"
            yield Part(name, "calculations", operation, (low, high), reach, problems)


def _gym(num: int, trained: DataSection | None, generators: Sequence[str]) -> Iterator[Part]:
    """These, and what was trained on, with its options."""
    if not is_installed():
        return
    sections = {name: _if_trained_on(f"{GYM}{name}", trained) for name in NUMERIC}
    for name, section in sections.items():
        if section or name in generators:
            options = dict(option.split("=", 1) for option in section.task_options) if section else {}
            made, _ = ReasoningGym(name, num_train=0, num_held_out=num, seed=SEED, options=options).load("held_out")
            yield Part(f"gym {name}", "reasoning_gym", None, None, "interpolation" if section else None, made)


def _if_trained_on(task: str | None, trained: DataSection | None) -> DataSection | None:
    """The section, if it trains on this generator."""
    return trained if trained is not None and not trained.train and trained.task == task else None


def _ranges(section: DataSection | None) -> Iterator[tuple[int, int]]:
    first = FIRST_RANGE if section is None else section.max_number
    yield 0, first
    yield from ((low, 10 * low) for low in (first, 10 * first) if 10 * low <= FARTHEST)


def _range(low: int, high: int) -> str:
    return f"{low + 1:,} to {high:,}" if low else f"to {high:,}"


def _reach(is_seen: bool) -> Reach:
    return "interpolation" if is_seen else "extrapolation"


def _largest(problem: Problem) -> int:
    return max(int(word) for word in problem.text.rstrip("?").split() if word.isdigit())
