# SPDX-License-Identifier: Apache-2.0
"""What number-aware rewards and losses do in policy optimization: rewards x actor terms, by task and seed.

Claim: where exact answers are rare and near ones count, a reward for closeness at least halves the error that plain PPO
ends with, with intervals that do not touch. Tasks and starts: `benchmarks.effect_runs`. Each arm of a task has the same
search: the learning rate with which it ends at the smaller symmetric error on the development problems of another seed.

Every run is a whole run of launch/train.py; those that the result holds already are not repeated, so the command may be
interrupted. No time is claimed.

    python -m benchmarks.ntl_effect                     # all runs; writes results/ntl_effect.json and .svg
    python -m benchmarks.ntl_effect --tasks products --arms exact closeness --seeds 0 1 2 3 4
    python -m benchmarks.ntl_effect --quick             # one run of two iterations: does it run? Nothing is written
    python -m benchmarks.ntl_effect --table             # what the result says so far
"""

import functools
import json
import math
import pathlib
import statistics
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchmarks.effect_runs import (
    SEARCH_SEED,
    TASKS,
    Runs,
    Split,
    evaluations,
    interval,
    measures,
    shown,
    study_parser,
    train,
    trained_start,
    write_files,
)

RATES = (1e-5, 1e-4)
STEPS, EVALUATIONS = 150, 15
TAU = 0.1
"""Of closeness: the relative error for which 0.37 is left."""
_CLOSENESS = ("--config.reward.function=ntl_jax.rewards:relative_closeness", f"--config.ntl.temperature={TAU}")
_EXACT = ("--config.reward.function=ntl_jax.rewards:exact_match",)
_OFF, _ON = ("--config.ntl.weight=0",), ("--config.ntl.weight=1",)
ARMS: dict[str, tuple[str, ...]] = {
    "exact": (*_EXACT, *_OFF),
    "NTL": _OFF,
    "closeness": (*_CLOSENESS, *_OFF),
    "gated": ("--config.reward.function=ntl_jax.rewards:ntl_gated_reward", *_OFF),
    "confidence": ("--config.reward.function=ntl_jax.rewards:compute_confidence_reward", *_OFF),
    "exact, actor": (*_EXACT, *_ON),
    "NTL, actor": _ON,
    "closeness, actor": (*_CLOSENESS, *_ON),
}
"""Reward, and whether the actor's loss has the differentiable term, at weight 1. Confidence pays right answers more the
surer the policy was of them: a control, which should not help."""
COLORS = {"exact": "#d9730d", "NTL": "#7b8794", "closeness": "#0b6e99", "closeness, actor": "#7a4fb5"}
"""Of the arms that are drawn."""
BAND_SEEDS = 5
"""Intervals of fewer seeds would cover the plot."""
PLOTTED = "median_relative_error"
COMPARED = ("accuracy", "smape", "median_relative_error")
Curve = dict[str, list[float]]
"""What was measured of the greedy answers after some iterations, by name; `iteration` says after which."""


class Run(NamedTuple):
    """A run, by what differs: the evaluations' problems, and the seed of the start and of the run."""

    task: str
    arm: str
    rate: float
    seed: int
    split: Split

    @property
    def name(self) -> str:
        return f"{self.task} | {self.arm} | {self.rate:g} | {self.seed} | {self.split}"


def main() -> None:
    parser = study_parser(__doc__, TASKS, ARMS, "ntl_effect.json")
    parser.add_argument("--folder", type=pathlib.Path, help="keeps problems and starts for the next call")
    args = parser.parse_args()
    runs = Runs[Curve](args.output, args.workers)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or pathlib.Path(temporary)
        if args.quick:
            write_files(folder)
            print(json.dumps(_trained(Run("products", "closeness", RATES[0], 0, "evaluation"), folder, steps=2)))
            return
        if not args.table:
            write_files(folder)
            for task in args.tasks:
                _add(
                    runs,
                    [Run(task, arm, rate, SEARCH_SEED, "development") for arm in args.arms for rate in RATES],
                    folder,
                )
            for seed in args.seeds:  # all tasks before the next seed
                arms = [(task, arm) for task in args.tasks for arm in args.arms]
                _add(runs, [Run(*pair, _rate_of(runs.results, *pair), seed, "evaluation") for pair in arms], folder)
    print_table(runs.results)
    plot(runs.results, args.output.with_suffix(".svg"))


def _add(runs: Runs[Curve], added: list[Run], folder: pathlib.Path) -> None:
    for task, seed in sorted({(run.task, run.seed) for run in added if run.name not in runs.results}):
        trained_start(task, seed, folder)  # before its arms, which begin there
    runs.add({run.name: functools.partial(_trained, run, folder) for run in added})


def _trained(run: Run, folder: pathlib.Path, steps: int = STEPS) -> Curve:
    with tempfile.TemporaryDirectory() as temporary:
        workdir = pathlib.Path(temporary, "run")
        settings = (
            f"--config.model.path={trained_start(run.task, run.seed, folder)}",
            "--config.warm_start.steps=0",
            f"--config.data.eval={folder / f'{run.task}-{run.split}.jsonl'}",
            f"--config.algorithm.optimizer.learning_rate={run.rate}",
            "--config.algorithm.optimizer.schedule=constant",
            f"--config.trainer.steps={steps}",
            f"--config.trainer.eval_every={max(1, steps // EVALUATIONS)}",
        )
        train("gsm8k_ntl", workdir, run.task, run.seed, [*settings, *ARMS[run.arm]])
        evaluated = {step: measures(rows) for step, rows in evaluations(workdir, "ppo").items()}
    names = next(iter(evaluated.values()))
    return {"iteration": [*map(float, evaluated)]} | {name: [of[name] for of in evaluated.values()] for name in names}


def _rate_of(results: dict[str, Curve], task: str, arm: str) -> float:
    """The learning rate that was chosen."""
    ends = {rate: results[Run(task, arm, rate, SEARCH_SEED, "development").name]["smape"][-1] for rate in RATES}
    return min(ends, key=ends.__getitem__)


def _by_seed(results: dict[str, Curve], task: str, arm: str) -> dict[int, Curve]:
    parts = {tuple(name.split(" | ")): curve for name, curve in results.items()}
    return {int(p[3]): curve for p, curve in parts.items() if p[:2] == (task, arm) and p[4] == "evaluation"}


def print_table(results: dict[str, Curve]) -> None:
    """Every measure before and after with its interval; and relative to exact rewards on the same seeds, the
    difference of accuracies and the ratio of errors, whose logarithms are averaged."""
    for task in TASKS:
        exact = _by_seed(results, task, "exact")
        for arm in ARMS:
            if not (curves := _by_seed(results, task, arm)):
                continue
            print(f"{task}, {arm}, rate {_rate_of(results, task, arm):g}, {len(curves)} seeds")
            for name in COMPARED:
                ends = {seed: curve[name][-1] for seed, curve in curves.items()}
                pairs = [(end, exact[seed][name][-1]) for seed, end in ends.items() if seed in exact]
                start = statistics.mean(curve[name][0] for curve in curves.values())
                print(f"    {name:21} {start:.3f} -> {shown([*ends.values()]):16} {_against(name, pairs)}")


def _against(name: str, pairs: Sequence[tuple[float, float]]) -> str:
    if name == "accuracy":
        return f"more than exact: {shown([end - plain for end, plain in pairs])}"
    if not pairs or min(min(pair) for pair in pairs) == 0:
        return ""
    mean, half = interval([math.log(end / plain) for end, plain in pairs])
    return f"of exact: {math.exp(mean):.2f} [{math.exp(mean - half):.2f}, {math.exp(mean + half):.2f}]"


def plot(results: dict[str, Curve], path: pathlib.Path) -> None:
    """The error by iteration of each task that has runs: the mean over the seeds and, of enough seeds, its interval."""
    tasks = [task for task in TASKS if _by_seed(results, task, "exact")]
    figure = Figure(figsize=(6 * len(tasks), 3.6), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        for arm, color in COLORS.items():
            curves = [*_by_seed(results, task, arm).values()]
            if not curves:
                continue
            means, halves = np.transpose(
                [interval(values) for values in zip(*(c[PLOTTED] for c in curves), strict=True)]
            )
            axes.plot(curves[0]["iteration"], means, color=color, label=f"{arm} ({len(curves)} seeds)")
            axes.fill_between(
                curves[0]["iteration"], means - halves, means + halves, color=color, alpha=0.2, linewidth=0
            )
        axes.set(title=task, xlabel="PPO iterations of 256 samples", ylabel="median relative error", ylim=(0, 1))
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
