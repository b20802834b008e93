# SPDX-License-Identifier: Apache-2.0
"""What watching sampler and trainer costs an iteration of `gsm8k_ntl`: the comparison, and all that goes with it.

Claims: selecting the most divergent tokens and computing the aggregates takes less than 0.5% of an iteration, alone,
over 100 calls; an iteration that is watched takes at most 2% longer than one that is not, in the median.

    python -m benchmarks.divergence_cost           # writes benchmarks/results/divergence_cost.json
    python -m benchmarks.divergence_cost --quick   # a tiny policy and few rounds: does it run?
"""

import argparse
import dataclasses
import json
import time

import jax
import numpy as np

from benchmarks.measure import RESULTS, machine, median_ratio, write
from benchmarks.ntl_overhead import WARM_UP, iteration, main_job, measure, warm_policy
from ntl_jax.config import DivergenceSection
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.metrics.divergence.comparison import LogProbs, compare
from ntl_jax.numerals.kinds import KINDS

CALLS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    keep_freed_memory()
    config = main_job(args.quick)
    params = warm_policy(config)
    sides = [
        iteration(dataclasses.replace(config, divergence=DivergenceSection(enabled=enabled)), config.ntl, params)
        for enabled in (False, True)
    ]
    seconds = measure(sides, 3 if args.quick else args.rounds)
    without, watched = np.median(seconds, axis=0).tolist()
    rollout = config.rollout
    rows = rollout.prompts_per_step * rollout.num_samples // config.algorithm.minibatches
    alone = comparison_seconds((rows, rollout.max_tokens), config.divergence.top_k)
    result = {
        "machine": machine(),
        "rows x tokens": [rows, rollout.max_tokens],
        "comparison, ms": round(alone * 1e3, 3),
        "share of an iteration": round(alone / without, 5),
        "iteration without, s": round(without, 4),
        "iteration watched, s": round(watched, 4),
        "watched / without": median_ratio(seconds[:, 1] / seconds[:, 0]),
    }
    print(json.dumps(result, indent=1)) if args.quick else write(result, RESULTS / "divergence_cost.json")


def comparison_seconds(shape: tuple[int, int], top_k: int) -> float:
    """Median over calls, with arrays that lie on the device as an update's do."""
    rng = np.random.default_rng(0)
    actor = -rng.exponential(1.0, shape).astype(np.float32)
    kinds = rng.integers(0, len(KINDS), shape).astype(np.int8)
    sides = jax.device_put(LogProbs(actor + np.float32(1e-3), actor, np.ones(shape, bool), None, kinds))
    seconds = []
    for _ in range(WARM_UP + CALLS):
        began = time.perf_counter()
        compare(sides, top_k=top_k)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[WARM_UP:]))


if __name__ == "__main__":
    main()
