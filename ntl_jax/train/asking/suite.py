# SPDX-License-Identifier: Apache-2.0
"""The numeric suite of `launch/eval.py`: its task, what is measured of the responses, and the groups of the tables."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from ntl_jax.config import AnswerSection, RewardSection, RunConfig
from ntl_jax.metrics import pass_at_k, pass_ks
from ntl_jax.metrics.numeric import (
    Measures,
    collect_measures,
    compare_measures,
    numeric_measures,
    print_differences,
    print_summaries,
    summarize_measures,
)
from ntl_jax.numerals import Answer, reference_number
from ntl_jax.tasks import JudgedTask, NumericSuite, Part, Task, TwoSources
from ntl_jax.train.evaluation import Evaluation
from ntl_jax.train.factory import build_task

REACHES = ("interpolation", "extrapolation")


class Measured(NamedTuple):
    """What was measured of a policy's responses to the suite.

    Args:
        problems: each problem's part and its number there.
        measures: of the greedy responses and, where there are any, of the samples.
    """

    problems: Sequence[tuple[int, int]]
    measures: Measures


def suite_settings(config: RunConfig) -> RunConfig:
    """The settings with which a policy answers a suite: all of its problems, and no reward function of the user's."""
    return dataclasses.replace(
        config,
        reward=RewardSection(),
        algorithm=dataclasses.replace(config.algorithm, advantage="group"),  # of which no reward has to have keys
        data=dataclasses.replace(config.data, on_long_row="skip"),
        trainer=dataclasses.replace(config.trainer, eval_problems=None),
    )


def suite_task(suite: NumericSuite, config: RunConfig) -> Task:
    """The suite as the settings have it: answers as in the section ``answer``, examples of the run's own task.

    Args:
        suite: has the problems.
        config: its sections ``answer``, ``prompt`` and, for examples, ``data``.

    Raises:
        ValueError: as in `ntl_jax.train.factory.build_task`.
    """
    task: Task = suite
    if config.prompt.few_shot:
        task = TwoSources(train=build_task(config, new=False), held_out=suite, judge=suite)
    return task if config.answer == AnswerSection() else JudgedTask(task, config.answer, numeric=True)


def measure(evaluation: Evaluation) -> Measured:
    """What is measured of each response to the suite.

    Args:
        evaluation: whose prompts are of the suite.
    """
    greedy, sampled = evaluation
    prompts, rows = greedy.prompts, zip(greedy.prompts, greedy.readings, strict=True)
    measures = collect_measures(
        [_of_answer(reading.answer, prompt.ground_truth, is_right=reading.exact_match) for prompt, reading in rows]
    )
    if sampled is not None:
        right = sampled.exact_match.reshape(len(prompts), -1)
        n = right.shape[1]
        measures[f"mean@{n}"] = right.mean(axis=1)
        for k in pass_ks(n):
            measures[f"pass@{k}"] = pass_at_k(right.sum(axis=1), n, k)
    return Measured([(prompt.source_index, prompt.index) for prompt in prompts], measures)


def report(parts: Sequence[Part], first: Measured, second: Measured | None = None) -> list[dict[str, Any]]:
    """Prints the table, and returns its rows with all measures, as JSON has them: None for what is not finite.

    Args:
        parts: of the suite.
        first: of the policy.
        second: of the one that it is compared with; only problems that both were asked count then.
    """
    if second is not None:
        first, second = _common(first, second)
    groups = _groups(parts, first.problems)
    summaries = {name: summarize_measures(first.measures, rows) for name, rows in groups.items()}
    counts = {name: int(rows.sum()) for name, rows in groups.items()}
    about = {part.name: _about(part) for part in parts}
    table: list[dict[str, Any]] = [
        {"name": name, **about.get(name, {}), "problems": counts[name], "metrics": _plain(summary)}
        for name, summary in summaries.items()
    ]
    if second is None:
        print_summaries({name: (counts[name], summary) for name, summary in summaries.items()})
        return table
    others = {name: summarize_measures(second.measures, rows) for name, rows in groups.items()}
    differences = {name: compare_measures(first.measures, second.measures, rows) for name, rows in groups.items()}
    print_differences({name: (counts[name], summaries[name], others[name], differences[name]) for name in groups})
    for row, name in zip(table, groups, strict=True):
        row["against"] = _plain(others[name])
        row["difference"] = {key: _plain(interval._asdict()) for key, interval in differences[name].items()}
    return table


def _of_answer(answer: Answer | None, ground_truth: str, *, is_right: bool) -> dict[str, float]:
    true = reference_number(ground_truth)
    assert true is not None, "a suite has numbers only"
    if true.value is None:  # too long to compute with
        return {"answered": float(answer is not None), "exact_match": float(is_right)}
    return numeric_measures(None if answer is None else answer.value, true.value, is_right=is_right)


def _common(first: Measured, second: Measured) -> tuple[Measured, Measured]:
    """The problems that both were asked, in the first's order: a prompt may be too long for one of them."""
    of_second = {*second.problems}
    shared = [problem for problem in first.problems if problem in of_second]
    if not shared:
        raise ValueError("the two policies have no problem in common: raise --max-prompt-tokens")
    return _taken(first, shared), _taken(second, shared)


def _taken(measured: Measured, problems: Sequence[tuple[int, int]]) -> Measured:
    places = {problem: row for row, problem in enumerate(measured.problems)}
    rows = [places[problem] for problem in problems]
    return Measured(problems, {name: column[rows] for name, column in measured.measures.items()})


def _groups(parts: Sequence[Part], problems: Sequence[tuple[int, int]]) -> dict[str, Bool[np.ndarray, "problems"]]:
    """The problems of each row of the tables."""
    part_of = np.array([part for part, _ in problems])
    groups = {"all": np.ones(len(problems), bool)}
    groups |= {reach: np.isin(part_of, [i for i, p in enumerate(parts) if p.reach == reach]) for reach in REACHES}
    groups |= {part.name: part_of == i for i, part in enumerate(parts)}
    return {name: rows for name, rows in groups.items() if rows.any()}


def _about(part: Part) -> dict[str, object]:
    return {"kind": part.kind, "operation": part.operation, "numbers": part.numbers, "reach": part.reach}


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
