# SPDX-License-Identifier: Apache-2.0
"""What number-aware losses do in supervised training: cross entropy alone and with each of the family, by seed.

The tiny policy from scratch on two tasks of `benchmarks.effect_runs`, on held-out problems with numbers as in training
(interpolation) and with larger ones (extrapolation). All losses have the weight of the paper's best NTL-WAS, 0.3, and
NTL-WAS other weights too. Each has the same search: the learning rate with which it ends at the smaller symmetric error
on the development problems of another seed.

Runs that the result holds already are not repeated, so the command may be interrupted. No time is claimed.

    python -m benchmarks.ntl_supervised            # all runs; writes results/ntl_supervised.json
    python -m benchmarks.ntl_supervised --quick    # one run of two updates: does it run? Nothing is written
    python -m benchmarks.ntl_supervised --table    # what the result says so far
"""

import functools
import json
import pathlib
import tempfile
from typing import NamedTuple

from benchmarks.effect_runs import (
    SEARCH_SEED,
    Runs,
    Split,
    evaluations,
    measures,
    shown,
    study_parser,
    train,
    write_files,
)

RATES = (1e-3, 3e-3)
STEPS = {"words to 20": 300, "products": 300}
"""Updates of 64 solutions, by task."""
WEIGHT = 0.3
METHODS = {
    "NTL-WAS": "wasserstein", "NTL-MSE": "mse", "RAFT": "raft", "DIST2": "dist2", "Gaussian": "gaussian",
    "SMMD": "smmd", "DEL": "del", "NTIL": "ntil",
}  # fmt: skip
ARMS: dict[str, tuple[str, float]] = {
    "cross entropy": ("wasserstein", 0.0),
    **{name: (method, WEIGHT) for name, method in METHODS.items()},
    **{f"NTL-WAS x {weight}": ("wasserstein", weight) for weight in (0.03, 0.1, 1.0)},
}
"""The loss beside cross entropy, and its weight."""
COMPARED = ("accuracy", "mae", "r2", "smape")
Ends = dict[str, dict[str, float]]
"""What was measured after the last update, by the kind of problems."""


class Run(NamedTuple):
    """A run, by what differs: the evaluations' problems, and the seed."""

    task: str
    arm: str
    rate: float
    seed: int
    splits: tuple[Split, ...]

    @property
    def name(self) -> str:
        return f"{self.task} | {self.arm} | {self.rate:g} | {self.seed} | {self.splits[0]}"


def main() -> None:
    parser = study_parser(__doc__, STEPS, ARMS, "ntl_supervised.json")
    args = parser.parse_args()
    runs = Runs[Ends](args.output, args.workers)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_files(folder)
        if args.quick:
            print(json.dumps(_trained(Run("products", "NTL-WAS", RATES[0], 0, ("development",)), folder, steps=2)))
            return
        for task in () if args.table else args.tasks:
            search = [Run(task, arm, rate, SEARCH_SEED, ("development",)) for arm in args.arms for rate in RATES]
            runs.add({run.name: functools.partial(_trained, run, folder) for run in search})
            for seed in args.seeds:
                rates = {arm: _rate_of(runs.results, task, arm) for arm in args.arms}
                added = [Run(task, arm, rate, seed, ("evaluation", "extrapolation")) for arm, rate in rates.items()]
                runs.add({run.name: functools.partial(_trained, run, folder) for run in added})
    print_table(runs.results)


def _trained(run: Run, folder: pathlib.Path, steps: int | None = None) -> Ends:
    method, weight = ARMS[run.arm]
    with tempfile.TemporaryDirectory() as temporary:
        workdir = pathlib.Path(temporary, "run")
        files = [folder / f"{run.task}-{split}.jsonl" for split in run.splits]
        settings = (
            *("--config.data.eval", *map(str, files)),
            f"--config.warm_start.steps={steps or STEPS[run.task]}",
            f"--config.warm_start.ntl_method={method}",
            f"--config.warm_start.ntl_weight={weight}",
            f"--config.warm_start.optimizer.learning_rate={run.rate}",
        )
        train("gsm8k_sft_ntl", workdir, run.task, run.seed, settings)
        *_, rows = evaluations(workdir, "warm_start").values()
    size = len(rows) // len(run.splits)  # as many of each file
    return {split: measures(rows[i * size : (i + 1) * size]) for i, split in enumerate(run.splits)}


def _rate_of(results: dict[str, Ends], task: str, arm: str) -> float:
    """The learning rate that was chosen."""
    names = {rate: Run(task, arm, rate, SEARCH_SEED, ("development",)).name for rate in RATES}
    return min(RATES, key=lambda rate: results[names[rate]]["development"]["smape"])


def print_table(results: dict[str, Ends]) -> None:
    """Every measure with its interval, and the difference from cross entropy on the same seeds."""
    parts = {tuple(name.split(" | ")): ends for name, ends in results.items()}
    for task in STEPS:
        seeds = {
            arm: {p[3]: ends for p, ends in parts.items() if p[:2] == (task, arm) and "evaluation" in ends}
            for arm in ARMS
        }
        for arm, of_arm in seeds.items():
            for split in ("evaluation", "extrapolation") if of_arm else ():
                print(f"{task}, {split}, {arm}, rate {_rate_of(results, task, arm):g}, {len(of_arm)} seeds")
                for name in COMPARED:
                    ends = {seed: found[split][name] for seed, found in of_arm.items()}
                    plain = {seed: found[split][name] for seed, found in seeds["cross entropy"].items()}
                    more = [end - plain[seed] for seed, end in ends.items() if seed in plain]
                    print(f"    {name:9} {shown([*ends.values()]):18} over cross entropy {shown(more)}")


if __name__ == "__main__":
    main()
