# SPDX-License-Identifier: Apache-2.0
"""Bare calculations, such as ``What is 12 + 35?``, whose solution is the number alone.

A checksum of the two operands decides whether they are for training or held out, whatever their order, operation and
seed: who has learned 12 + 35 is never asked 35 + 12.
"""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from ntl_jax.config import Operation
from ntl_jax.data import Problem, Split
from ntl_jax.tasks.task import Task

HELD_OUT_ONE_IN = 4
"""Share of all pairs that are held out."""
MOST_LISTED = 2**24
"""So many calculations are put in a random order as a whole; of more, which no run can use up, they are drawn."""


class Calculations(Task):
    """Calculations with two operands, each at most once.

    Args:
        num_train, num_held_out: number of problems in each split; all, if there are fewer.
        seed: seed of their order.
        max_number: largest operand; the smallest is 0.
        operations: of ``+``, ``-`` and ``*``, in equal shares until one is used up; differences have the larger operand
            first, so that there are half as many.

    Example:
        >>> task = Calculations(num_train=10_000, num_held_out=2, seed=0, max_number=99)
        >>> problems, _ = task.load("train")
        >>> len(problems), problems[0].question, problems[0].solution
        (7500, 'What is 35 + 77?', '112')
    """

    def __init__(
        self,
        *,
        num_train: int,
        num_held_out: int,
        seed: int,
        max_number: int = 99,
        operations: Sequence[Operation] = ("+",),
    ):
        self._sizes: dict[Split, int] = {"train": num_train, "held_out": num_held_out}
        self._seed, self._max_number, self._operations = seed, max_number, tuple(operations)

    def load(self, split: Split) -> tuple[list[Problem], int]:
        found: dict[str, int] = {}
        for first, operation, second in self._calculations():
            if len(found) == self._sizes[split]:
                break
            if _split_of(first, second) == split:
                found[f"What is {first} {operation} {second}?"] = _result(first, operation, second)
        problems = [Problem(i, asked, str(n), str(n), "calculations") for i, (asked, n) in enumerate(found.items())]
        return problems, 0

    def _calculations(self) -> Iterator[tuple[int, Operation, int]]:
        """The calculations in random order, each at least once if they are few."""
        numbers, kinds = self._max_number + 1, len(self._operations)
        for index in _indices(numbers * numbers * kinds, np.random.default_rng(self._seed)):
            pair, kind = divmod(index, kinds)
            first, second = divmod(pair, numbers)
            operation = self._operations[kind]
            if operation == "-" and first < second:  # turned round, not left out: differences have an equal share
                first, second = second, first
            yield first, operation, second


def _indices(total: int, rng: np.random.Generator) -> Iterator[int]:
    if total <= MOST_LISTED:
        yield from map(int, rng.permutation(total))
    else:
        while True:
            yield int(rng.integers(total))


def _split_of(first: int, second: int) -> Split:
    key = f"{min(first, second)} {max(first, second)}"
    return "held_out" if zlib.crc32(key.encode()) % HELD_OUT_ONE_IN == 0 else "train"


def _result(first: int, operation: Operation, second: int) -> int:
    match operation:
        case "+":
            return first + second
        case "-":
            return first - second
        case "*":
            return first * second
