# SPDX-License-Identifier: Apache-2.0
"""What Number Token Loss does for accuracy in policy optimization: rewards and actor terms, by difficulty and seed.

The tiny policy of `gsm8k_ntl` after the same warm start on problems of different difficulty: the larger the numbers,
the fewer of its greedy answers are right before PPO. Every run is a whole run of launch/train.py; those that the result
holds already are not repeated, so the command may be interrupted. No time is claimed.

    python -m benchmarks.ntl_effect                     # all runs, 3 minutes each; writes results/ntl_effect.json
    python -m benchmarks.ntl_effect --seeds 0 --arms exact ntl
    python -m benchmarks.ntl_effect --quick             # one run of two iterations: does it run? Nothing is written
    python -m benchmarks.ntl_effect --table             # what the result says so far
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from benchmarks.measure import RESULTS, machine, write

ARMS = {
    "exact": ["--config.ntl.enabled=false"],
    "ntl": ["--config.ntl.weight=0"],
    "ntl + 0.1 actor": ["--config.ntl.weight=0.1"],
    "ntl + 1 actor": ["--config.ntl.weight=1"],
    "exact + 1 actor of equations": [
        *("--config.ntl.weight=1", "--config.ntl.reward_mode=all_tokens"),
        "--config.reward.function=ntl_jax.rewards:exact_match",
    ],
    "closeness": ["--config.ntl.enabled=false", "--config.reward.function=ntl_jax.rewards:absolute_closeness"],
    "exact + 1 actor": ["--config.ntl.weight=1", "--config.reward.function=ntl_jax.rewards:exact_match"],
}
"""Reward, and the weight of the differentiable term in the actor's loss: for the answer, or for the results of
equations."""
DIFFICULTIES = (10, 12, 20)
"""Largest number of a problem."""
CURVES = ("val/accuracy", "val/ntl_loss")
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t of a 95% interval, by number of seeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--difficulties", nargs="+", type=int, default=list(DIFFICULTIES))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "ntl_effect.json")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        print(json.dumps(trained("ntl", 10, seed=0, steps=2)))
        return
    found = json.loads(args.output.read_text()) if args.output.exists() else {}
    runs = found.get("runs", {})
    for seed in () if args.table else args.seeds:
        for difficulty in args.difficulties:
            for arm in args.arms:
                name = f"numbers to {difficulty}, {arm}, seed {seed}"
                if name not in runs:
                    runs[name] = trained(arm, difficulty, seed, args.steps)
                    write({"machine": machine(), "steps": args.steps, "runs": runs}, args.output)
    print_table(runs)


def trained(arm: str, difficulty: int, seed: int, steps: int) -> dict[str, list[float]]:
    """The curves of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder, "run")
        command = [sys.executable, "launch/train.py", "--config=gsm8k_ntl", f"--workdir={run}"]
        settings = [
            f"--config.seed={seed}",
            f"--config.data.max_number={difficulty}",
            f"--config.trainer.steps={steps}",
        ]
        subprocess.run([*command, *settings, *ARMS[arm]], check=True, capture_output=True, cwd=RESULTS.parents[1])
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = [line for line in lines if line["stage"] == "ppo" and "val/accuracy" in line]
    curves = {name: [round(line[name], 4) for line in evaluated if name in line] for name in CURVES}
    return {"iteration": [line["step"] for line in evaluated]} | curves


def print_table(runs: dict[str, dict[str, list[float]]]) -> None:
    """Accuracy before and after, mean over the seeds with its 95% interval; and the gain over exact rewards."""
    for difficulty in DIFFICULTIES:
        exact = _by_seed(runs, difficulty, "exact")
        for arm in ARMS:
            if not (of_arm := _by_seed(runs, difficulty, arm)):
                continue
            before, after = ({seed: curve["val/accuracy"][i] for seed, curve in of_arm.items()} for i in (0, -1))
            gains = [after[seed] - exact[seed]["val/accuracy"][-1] for seed in after if seed in exact]
            start, end = statistics.mean(before.values()), _interval([*after.values()])
            print(f"numbers to {difficulty:2} {arm:29} {start:6.1%} -> {end}   over exact {_interval(gains)}")


def _by_seed(runs: dict[str, dict[str, list[float]]], difficulty: int, arm: str) -> dict[str, dict[str, list[float]]]:
    start = f"numbers to {difficulty}, {arm}, seed "
    return {name.removeprefix(start): curve for name, curve in runs.items() if name.startswith(start)}


def _interval(values: list[float]) -> str:
    if not values:
        return "-"
    mean, count = statistics.mean(values), len(values)
    if count < 2:
        return f"{mean:6.1%} ({count} seed)"
    half = T_95.get(count, 2.0) * statistics.stdev(values) / count**0.5
    return f"{mean:6.1%} +- {half:.1%} ({count} seeds)"


if __name__ == "__main__":
    main()
