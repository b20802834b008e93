# SPDX-License-Identifier: Apache-2.0
"""Problems as rows to write, which read back as the same problems without any setting; and splitting some off."""

import random
from collections.abc import Sequence

from ntl_jax.data.problems import Problem


def problem_row(problem: Problem) -> dict[str, object]:
    """The row of a problem.

    Args:
        problem: of any source.

    Example:
        >>> problem_row(Problem(0, "2+3?", "2+3=5", "5", "mine"))
        {'question': '2+3?', 'answer': '5', 'solution': '2+3=5', 'data_source': 'mine'}
    """
    question = problem.question if isinstance(problem.question, str) else list(problem.question)
    row: dict[str, object] = {
        "question": question,
        "answer": problem.ground_truth,
        "solution": problem.solution,
        "data_source": problem.data_source,
    }
    return row | ({"extra_info": dict(problem.extra_info)} if problem.extra_info else {})


def split_off(problems: Sequence[Problem], count: int, seed: int) -> tuple[list[Problem], list[Problem]]:
    """Splits problems at random, so that no question is in both parts.

    Args:
        problems: which may ask a question several times.
        count: size of the second part; it is smaller by less than the repetitions of one question if it must be.
        seed: of the draw, which depends on nothing else but the problems.

    Returns:
        The other problems, and those split off, both in the order given.

    Example:
        >>> problems = [Problem(i, f"{i // 2}?", "5", "5", "mine") for i in range(6)]
        >>> [[problem.text for problem in part] for part in split_off(problems, 2, seed=0)]
        [['1?', '1?', '2?', '2?'], ['0?', '0?']]
    """
    groups: dict[str, list[int]] = {}
    for i, problem in enumerate(problems):
        groups.setdefault(problem.text, []).append(i)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    chosen: set[int] = set()
    for group in order:
        if len(chosen) + len(group) <= count:
            chosen.update(group)
    parts = ([], [])
    for i, problem in enumerate(problems):
        parts[i in chosen].append(problem)
    return parts
