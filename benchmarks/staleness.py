# SPDX-License-Identifier: Apache-2.0
"""What samples of older policies cost in accuracy: the default task with a pool, by lag and seed.

Claim: with samples that are one or four iterations old, held-out accuracy after 150 iterations is within the spread of
the seeds of lockstep. Runs are whole runs of launch/train.py with two JAX workers; no time is claimed.

    python -m benchmarks.staleness                   # 12 runs of 2 to 3 minutes; writes results/staleness.json
    python -m benchmarks.staleness --only 4 --seeds 0
    python -m benchmarks.staleness --quick           # one run of two iterations: does it run? Nothing is written
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from benchmarks.measure import RESULTS, machine, write

RECOMPUTED = "--config.algorithm.old_log_probs=recompute"
CASES = {
    "0": ["--config.rollout.max_staleness=0"],
    "1": ["--config.rollout.max_staleness=1"],
    "4": ["--config.rollout.max_staleness=4"],
    "4, recomputed and corrected": ["--config.rollout.max_staleness=4", RECOMPUTED],
}
KEPT = ("actor/pg_clipfrac", "actor/ppo_kl", "rollout_corr/rollout_is_eff_sample_size", "staleness/mean")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "staleness.json")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        trained("4", seed=0, steps=2)
        return
    before = json.loads(args.output.read_text()) if args.output.exists() else {}  # cases that ran earlier stay
    result: dict[str, object] = before | {"machine": machine(), "steps": args.steps}
    for case in args.only:
        result[case] = [trained(case, seed, args.steps) for seed in args.seeds]
        write(result, args.output)


def trained(case: str, seed: int, steps: int) -> dict[str, object]:
    """Accuracy before and after a run, and the means of what tells how far its samples were from its policy."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder, "run")
        command = [sys.executable, "launch/train.py", "--config=gsm8k_ntl_pool", f"--workdir={run}"]
        settings = [f"--config.seed={seed}", f"--config.trainer.steps={steps}", *CASES[case]]
        subprocess.run([*command, *settings], check=True, capture_output=True, cwd=RESULTS.parents[1])
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    of_ppo = [line for line in lines if line["stage"] == "ppo"]
    accuracies = [line["val/accuracy"] for line in of_ppo if "val/accuracy" in line]
    means = {name: [line[name] for line in of_ppo if line.get(name) is not None] for name in KEPT}
    found = {"seed": seed, "before": round(accuracies[0], 4), "after": round(accuracies[-1], 4)}
    found |= {name: round(sum(values) / len(values), 5) for name, values in means.items() if values}
    print(case, found, flush=True)
    return found


if __name__ == "__main__":
    main()
