# SPDX-License-Identifier: Apache-2.0
"""The built-in generator as a task."""

from collections.abc import Sequence

from ntl_jax.data import Problem, Split
from ntl_jax.tasks.arithmetic.generator import generate_problems
from ntl_jax.tasks.task import Task


class Arithmetic(Task):
    """Word problems of the built-in generator, whose answers are integers after ``####``.

    Args:
        num_train, num_held_out: number of problems in each split.
        seed: seed of the random draws.
        tiers: numbers of reasoning steps, each from 1 to 4.
        max_number: largest number in questions of tiers 1 and 2; tiers 3 and 4 go up to ten times as far.

    Example:
        >>> task = Arithmetic(num_train=1, num_held_out=1, seed=0, tiers=(1,))
        >>> (problem,), _ = task.load("train")
        >>> task.is_correct(task.answer_of(problem.solution), problem.ground_truth)
        True
    """

    def __init__(
        self,
        *,
        num_train: int,
        num_held_out: int,
        seed: int,
        tiers: Sequence[int] = (1, 2),
        max_number: int = 40,
    ):
        self._sizes: dict[Split, int] = {"train": num_train, "held_out": num_held_out}
        self._seed, self._tiers, self._max_number = seed, tiers, max_number

    def load(self, split: Split) -> tuple[list[Problem], int]:
        settings = {"seed": self._seed, "tiers": self._tiers, "max_number": self._max_number}
        return generate_problems(self._sizes[split], split=split, **settings), 0
