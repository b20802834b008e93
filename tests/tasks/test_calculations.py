# SPDX-License-Identifier: Apache-2.0
"""Calculations are right, asked once, and never held out where they are trained on."""

import re

import pytest

from ntl_jax.config import Operation
from ntl_jax.tasks import Calculations

ASKED = re.compile(r"What is ([0-9]+) ([-+*]) ([0-9]+)\?")
ALL = 10**6


def parts(problems):
    found = [match.groups() for problem in problems if (match := ASKED.fullmatch(problem.text))]
    assert len(found) == len(problems)
    return [(int(first), operation, int(second)) for first, operation, second in found]


def task(*operations: Operation, num_train: int = ALL, max_number: int = 20, seed: int = 0) -> Calculations:
    return Calculations(
        num_train=num_train, num_held_out=ALL, seed=seed, max_number=max_number, operations=operations or ("+",)
    )


@pytest.mark.parametrize("operations", [("+",), ("-",), ("*",), ("+", "-", "*")])
def test_every_calculation_is_asked_once_and_solved_by_its_number_alone(operations):
    problems = [problem for split in ("train", "held_out") for problem in task(*operations).load(split)[0]]
    asked = parts(problems)
    pairs = 21 * 21
    assert len(set(asked)) == len(asked) == sum(pairs - 21 * 10 if x == "-" else pairs for x in operations)
    for problem, (first, operation, second) in zip(problems, asked, strict=True):
        result = {"+": first + second, "-": first - second, "*": first * second}[operation]
        assert problem.solution == problem.ground_truth == str(result) and result >= 0
        assert task().is_correct(task().answer_of(problem.solution), problem.ground_truth)


def test_a_pair_of_operands_is_in_one_split_in_both_orders_whatever_operation_and_seed():
    pairs = {
        split: {
            frozenset((first, second))
            for seed in (0, 1)
            for operation in ("+", "-", "*")
            for first, _, second in parts(task(operation, seed=seed).load(split)[0])
        }
        for split in ("train", "held_out")
    }
    assert not pairs["train"] & pairs["held_out"]
    assert len(pairs["train"]) + len(pairs["held_out"]) == 21 * 22 // 2


def test_operations_have_equal_shares_while_there_are_enough_of_each():
    asked = [
        operation for _, operation, _ in parts(task("+", "-", "*", num_train=3000, max_number=999).load("train")[0])
    ]
    assert all(abs(asked.count(operation) - 1000) < 80 for operation in "+-*")  # three standard deviations


def test_more_problems_begin_with_the_same_ones_and_another_seed_with_others():
    few, many = (task(num_train=n).load("train")[0] for n in (10, 100))
    assert many[:10] == few and task(num_train=10, seed=1).load("train")[0] != few


def test_there_are_two_thousand_pairs_at_numbers_to_ninety_nine_and_no_end_at_a_million():
    assert len(task(max_number=99, num_train=2000).load("train")[0]) == 2000
    (problem, *_), _ = Calculations(num_train=3, num_held_out=0, seed=0, max_number=10**6).load("train")
    assert ASKED.fullmatch(problem.text)
