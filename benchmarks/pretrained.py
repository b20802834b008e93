# SPDX-License-Identifier: Apache-2.0
"""What a pretrained model learns: accuracy of `smollm2_arithmetic` by seed, with Number Token Loss and as plain PPO.

Claim: the mean of three seeds with Number Token Loss is at least 20 points above the better of the model's own
accuracies, without examples and with four of them, and none is below 12. Held-out pairs of numbers are never trained
on, and one regular expression reads all answers.

    python -m benchmarks.pretrained            # 6 runs and an evaluation; writes results/pretrained.json and .svg
    python -m benchmarks.pretrained --runs FOLDER   # from those runs there are of FOLDER/ntl-0, FOLDER/plain-0, ...
    python -m benchmarks.pretrained --quick    # one run of two iterations: does it run? Nothing is written
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.measure import RESULTS, machine, write

CONFIG = "smollm2_arithmetic"
CASES = {"ntl": [], "plain": ["--config.ntl.enabled=false"]}
LABELS = {"ntl": "PPO with NTL", "plain": "plain PPO"}
COLORS = {"ntl": "#0b6e99", "plain": "#d9730d"}
EXAMPLES = 4
"""Of the few-shot evaluation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/smollm2-135m", help="folder that launch/get_model.py wrote")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=pathlib.Path, help="folder of finished runs")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "pretrained.json")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.runs or pathlib.Path(temporary)
        if args.quick:
            train(folder / "ntl-0", args.model, "ntl", 0, ["--config.trainer.steps=2"])
            return
        result: dict[str, Any] = {"machine": machine(), "few-shot": few_shot(args.model)}
        for case in CASES:
            result[case] = []
            for seed in args.seeds:
                run = folder / f"{case}-{seed}"
                if args.runs is None:
                    train(run, args.model, case, seed)
                elif not run.exists():
                    continue
                result[case].append({"seed": seed} | curves(run))
        write(result, args.output)
        plot(result, args.output.with_suffix(".svg"))


def train(run: pathlib.Path, model: str, case: str, seed: int, more: list[str] | None = None) -> None:
    settings = [f"--config.model.path={model}", f"--config.seed={seed}", *CASES[case], *(more or [])]
    command = [sys.executable, "launch/train.py", f"--config={CONFIG}", f"--workdir={run}", *settings]
    subprocess.run(command, check=True, cwd=RESULTS.parents[1])


def few_shot(model: str) -> dict[str, float]:
    """The model's own accuracy with examples, on the problems of seed 0."""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "evaluation")
        options = [f"--config={CONFIG}", f"--few-shot={EXAMPLES}", f"--output={output}"]
        subprocess.run([sys.executable, "launch/eval.py", model, *options], check=True, cwd=RESULTS.parents[1])
        metrics = json.loads((output / "metrics.json").read_text())["metrics"]
    return {name: metrics[f"val/{name}"] for name in ("answered", "accuracy")}


def curves(run: pathlib.Path) -> dict[str, Any]:
    """Accuracy of greedy answers by iteration, and of samples in each; minutes of the iterations."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held_out = [line for line in lines if "val/accuracy" in line]
    iterations = [line for line in lines if "reward/accuracy" in line]
    return {
        "held out": {line["step"]: line["val/accuracy"] for line in held_out},
        "answered": {line["step"]: line["val/answered"] for line in held_out},
        "samples": [line["reward/accuracy"] for line in iterations],
        "minutes": round(sum(line["timing_s/step"] for line in iterations) / 60, 1),
    }


def plot(result: dict[str, Any], path: pathlib.Path) -> None:
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for case, label in LABELS.items():
        runs = result[case]
        samples = np.mean([run["samples"] for run in runs], axis=0)
        axes.plot(np.arange(1, len(samples) + 1), samples, color=COLORS[case], alpha=0.35, linewidth=1)
        steps = list(runs[0]["held out"])
        values = np.array([list(run["held out"].values()) for run in runs])
        axes.plot([int(step) for step in steps], values.mean(0), color=COLORS[case], marker="o", label=label)
        axes.vlines([int(step) for step in steps], values.min(0), values.max(0), color=COLORS[case], linewidth=1)
    axes.axhline(
        result["few-shot"]["accuracy"], color="#7b8794", linestyle=":", label=f"untrained, {EXAMPLES} examples"
    )
    axes.set(xlabel="PPO iterations of 128 samples", ylabel="right answers", ylim=(0, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(frameon=False, loc="upper left")
    axes.grid(alpha=0.3)
    FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
