# SPDX-License-Identifier: Apache-2.0
"""Part of `benchmarks.ntl_effect` and `benchmarks.ntl_supervised`: tasks, their problems in files, and whole runs of
launch/train.py, which a result file keeps.

The tiny policy of `gsm8k_ntl` throughout. Rates are chosen on problems of their own: the development and the evaluation
problems of a task are held out from training and have none in common.
"""

import argparse
import concurrent.futures
import json
import math
import pathlib
import re
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import scipy.stats

from benchmarks.measure import RESULTS, machine, write
from ntl_jax.config import Operation
from ntl_jax.data import Problem
from ntl_jax.data.files.write import problem_row
from ntl_jax.numerals import relative_error, symmetric_error
from ntl_jax.tasks.arithmetic.generator import held_out_between
from ntl_jax.tasks.calculations import Calculations

NUM_PROBLEMS = 512
"""Of a file."""
SEARCH_SEED = 100
"""Of the runs from which learning rates are chosen."""
Split = Literal["development", "evaluation", "extrapolation"]
Result = TypeVar("Result")
"""What a result file keeps of a run."""


class Task(NamedTuple):
    """What is asked, and the supervised start of policy optimization.

    Args:
        data: settings of the section `data`.
        start: settings of the section `warm_start`.
        max_tokens: of a response.
    """

    data: tuple[str, ...]
    start: tuple[str, ...]
    max_tokens: int


def _words(max_number: int) -> Task:
    start = ("--config.warm_start.steps=65", "--config.warm_start.optimizer.schedule=constant")
    return Task((f"--config.data.max_number={max_number}",), start, 32)


def _calculations(task: str, steps: int) -> Task:
    data = ("--config.data.tiers", "1", "2", "--config.data.task=calculations", "--config.data.max_number=99")
    return Task((*data, "--config.data.operations", OPERATIONS[task]), (f"--config.warm_start.steps={steps}",), 8)


OPERATIONS: dict[str, Operation] = {"sums": "+", "products": "*"}
TASKS = {
    "words to 10": _words(10),
    "words to 12": _words(12),
    "words to 20": _words(20),
    "sums": _calculations("sums", 300),
    "products": _calculations("products", 150),
}
"""Word problems of one step that are solved by writing an equation, and calculations with two numbers to 99, whose
answer is written at once."""


def write_files(folder: pathlib.Path) -> None:
    """Writes `TASK-SPLIT.jsonl` for every task and split, where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        first = _held_out(task, 0, 2 * NUM_PROBLEMS)
        largest = int(task.rpartition(" ")[2]) if task.startswith("words") else 99
        parts = first[:NUM_PROBLEMS], first[NUM_PROBLEMS:], _held_out(task, largest, NUM_PROBLEMS)
        for split, problems in zip(get_args(Split), parts, strict=True):
            path = folder / f"{task}-{split}.jsonl"
            if not path.exists():
                path.write_text("".join(json.dumps(problem_row(problem)) + "\n" for problem in problems))


def _held_out(task: str, above: int, count: int) -> Sequence[Problem]:
    """With the numbers of training, or whose largest number is above that of training, up to twice as large."""
    kind, _, largest = task.partition(" to ")
    if kind == "words":
        high = 2 * above or int(largest)
        return held_out_between(above, high, count, seed=0, tier=1)
    high, operation = 2 * above + 1 if above else 99, OPERATIONS[task]
    made = Calculations(num_train=0, num_held_out=4 * count, seed=0, max_number=high, operations=(operation,))
    return [x for x in made.load("held_out")[0] if max(map(int, re.findall("[0-9]+", x.text))) > above][:count]


def trained_start(task: str, seed: int, folder: pathlib.Path, steps: int | None = None) -> pathlib.Path:
    """The policy before policy optimization, trained with cross entropy alone and shared by all arms."""
    path, run = folder / f"{task}-{seed}", folder / f"{task}-{seed}-run"
    if not path.exists():
        settings = [
            *TASKS[task].start,
            "--config.warm_start.ntl_weight=0",
            "--config.warm_start.ntl_method=wasserstein",
            *(() if steps is None else [f"--config.warm_start.steps={steps}"]),
        ]
        train("gsm8k_sft_ntl", run, task, seed, settings)
        launch("export", str(run), str(path))
    return path


def train(config: str, run: pathlib.Path, task: str, seed: int, settings: Sequence[str]) -> None:
    """A whole run of launch/train.py on a task."""
    options = (f"--workdir={run}", f"--config.seed={seed}", f"--config.rollout.max_tokens={TASKS[task].max_tokens}")
    launch("train", f"--config={config}", *options, *TASKS[task].data, *settings)


def launch(name: str, *options: str) -> None:
    """Runs launch/NAME.py to its end."""
    done = subprocess.run(
        [sys.executable, f"launch/{name}.py", *options], capture_output=True, text=True, cwd=RESULTS.parents[1]
    )
    if done.returncode:
        raise RuntimeError(f"launch/{name}.py {' '.join(options)} ended with {done.returncode}:\n{done.stderr[-2000:]}")


def evaluations(run: pathlib.Path, stage: str) -> dict[int, list[dict[str, Any]]]:
    """The evaluated problems of a run by step."""
    paths = sorted((run / "evaluations").glob(f"{stage}-*.jsonl"))
    return {
        int(path.stem.rpartition("-")[2]): [json.loads(line) for line in path.read_text().splitlines()]
        for path in paths
    }


def measures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of evaluated problems: share of exact answers, mean symmetric error, and median relative error, mean absolute
    error and coefficient of determination, for which a response without an answer says 0."""
    pairs = [(_number(row["extracted_answer"]), Fraction(row["ground_truth"])) for row in rows]
    answers, truths = (np.array([float(x or 0) for x in column]) for column in zip(*pairs, strict=True))
    errors = answers - truths
    found = {
        "accuracy": np.mean([row["correct"] for row in rows]),
        "smape": np.mean([symmetric_error(*pair) for pair in pairs]),
        "median_relative_error": np.median([relative_error(answer or Fraction(0), truth) for answer, truth in pairs]),
        "mae": np.mean(np.abs(errors)),
        "r2": 1 - np.sum(errors**2) / np.sum((truths - truths.mean()) ** 2),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def _number(text: str | None) -> Fraction | None:
    try:
        return None if text is None else Fraction(text)
    except ValueError:
        return None


class Runs(Generic[Result]):
    """The runs of a result file.

    Args:
        output: the file; what it holds is not run again.
        workers: runs at a time.
    """

    def __init__(self, output: pathlib.Path, workers: int):
        self._output, self._workers = output, workers
        found = json.loads(output.read_text()) if output.exists() else {}
        self.results: dict[str, Result] = found.get("runs", {})
        self._machine: dict[str, Any] = found.get("machine") or machine()
        self._writing = threading.Lock()

    def add(self, runs: Mapping[str, Callable[[], Result]]) -> None:
        """Does those that the file does not hold, and writes each result when it is there."""

        def do(name: str) -> None:
            result = runs[name]()
            with self._writing:
                self.results[name] = result
                write({"machine": self._machine, "runs": self.results}, self._output)

        with concurrent.futures.ThreadPoolExecutor(self._workers) as threads:
            list(threads.map(do, [name for name in runs if name not in self.results]))


def study_parser(about: str | None, tasks: Iterable[str], arms: Iterable[str], result: str) -> argparse.ArgumentParser:
    """The options that studies share.

    Args:
        about: what the study says of itself.
        tasks, arms: all of them.
        result: name of the file in `RESULTS`.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, all_of_them in {"tasks": [*tasks], "arms": [*arms]}.items():
        parser.add_argument(f"--{name}", nargs="+", choices=all_of_them, default=all_of_them)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / result)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--quick", action="store_true")
    return parser


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean of some seeds' values and half of its 95% interval, by Student's t."""
    count = len(values)
    if count < 2:
        return (values[0] if values else math.nan), math.nan
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * statistics.stdev(values) / count**0.5
    return statistics.mean(values), half


def shown(values: Sequence[float]) -> str:
    """The interval in a table."""
    mean, half = interval(values)
    return "-" if math.isnan(mean) else f"{mean:.3f}" + ("" if math.isnan(half) else f" +- {half:.3f}")
