# SPDX-License-Identifier: Apache-2.0
"""What each algorithm makes of the same tiny policy in as many iterations: held-out accuracy before and after.

Claims: every algorithm improves the arithmetic policy of gsm8k_ntl by at least 10 points in half of its iterations
(75, one to two minutes), which gives the same numbers on a busy machine as on a quiet one.

    python -m benchmarks.algorithms                    # all of them; writes benchmarks/results/algorithms.json
    python -m benchmarks.algorithms --only gspo remax --iterations 20
    python -m benchmarks.algorithms --quick            # two iterations each: does it run?

One warm start serves all. Learning rates are gsm8k_ntl's, constant, unless the table of algorithms says otherwise: for
none of them was one searched for. An iteration's time is the median from the second on, when everything is compiled.
"""

import argparse
import dataclasses
import runpy
import statistics
import time
from typing import Any

import jax

from benchmarks.measure import RESULTS, machine, write
from ntl_jax.config import AlgorithmSection, CorrectionSection, KLSection, OptimizerSection, RunConfig
from ntl_jax.models import Decoder
from ntl_jax.records import Sampling
from ntl_jax.train.factory import Parts, assemble, ppo_trainer, supervised_trainer

CONFIG = RESULTS.parents[1] / "configs" / "gsm8k_ntl.py"
SEQUENCE_MEAN = "seq-mean-token-mean"
ALGORITHMS: dict[str, dict[str, Any]] = {
    "group": {},
    "group-without-deviation": {"normalize_groups": False, "aggregation": "seq-mean-token-sum-norm"},
    "dapo": {"clip_high": 0.28, "dynamic_sampling": True, "overlong": "penalty", "overlong_buffer": 4},
    "leave-one-out": {"advantage": "leave_one_out"},
    "reinforce++": {"advantage": "reinforce_plus_plus"},
    "reinforce++-baseline": {"advantage": "reinforce_plus_plus_baseline"},
    "optimal-baseline": {"advantage": "optimal_baseline"},
    "remax": {"advantage": "remax"},
    "gae": {"advantage": "gae"},
    "gae-shared": {"advantage": "gae", "critic": "shared", "critic_warmup": 2, "critic_learning_rate": 1e-3},
    "dual-clip": {"dual_clip": 3.0, "entropy_weight": 0.001},
    "gspo": {"objective": "gspo", "clip_low": 3e-3, "clip_high": 4e-3, "aggregation": SEQUENCE_MEAN},
    "cispo": {"objective": "cispo"},
    "sapo": {"objective": "sapo", "aggregation": SEQUENCE_MEAN},
    "reinforce": {"objective": "reinforce"},
    "kl-in-loss": {"kl": KLSection(weight=0.01)},
    "kl-in-reward": {"kl": KLSection(weight=0.01, place="reward", estimator="k1", controller="adaptive")},
    "recompute": {"old_log_probs": "recompute", "correction": CorrectionSection()},
    "muon": {"optimizer": OptimizerSection(name="muon", learning_rate=1e-4, warmup_steps=5)},
    "adafactor": {"optimizer": OptimizerSection(name="adafactor", learning_rate=1e-4, warmup_steps=5)},
}


def algorithm(name: str, base: AlgorithmSection) -> AlgorithmSection:
    """The section of gsm8k_ntl with the algorithm's settings and a constant learning rate."""
    constant = dataclasses.replace(base.optimizer, schedule="constant")
    return dataclasses.replace(base, **{"optimizer": constant} | ALGORITHMS[name])


def accuracy(parts: Parts, decoder: Decoder) -> float:
    """Of greedy responses to the held-out problems."""
    sampling = Sampling(
        num_samples=1,
        max_tokens=parts.config.rollout.max_tokens,
        temperature=0.0,
        stop_token_ids=parts.stop_token_ids,
    )
    parts.engine.load_weights(0, decoder)
    trajectories = parts.engine.generate(parts.eval_prompts, sampling, seed=0)
    return float(parts.scorer(parts.eval_prompts, trajectories, decoder).correct.mean())


def train(parts: Parts, config: RunConfig, params: Any, iterations: int) -> dict[str, float]:
    """What became of the policy, and what an iteration took."""
    config.validate()
    trainer = ppo_trainer(dataclasses.replace(parts, config=config), jax.tree.map(lambda x: x.copy(), params))
    seconds = []
    for _ in range(iterations):
        began = time.perf_counter()
        trainer.step()
        seconds.append(time.perf_counter() - began)
    return {
        "after": round(accuracy(parts, trainer.decoder()), 4),
        "seconds_per_iteration": round(statistics.median(seconds[1:]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What each algorithm makes of the same tiny policy.")
    parser.add_argument("--iterations", type=int, default=75, help="of each algorithm")
    parser.add_argument("--only", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--quick", action="store_true", help="two iterations each, nothing written")
    args = parser.parse_args()
    config: RunConfig = runpy.run_path(str(CONFIG))["get_config"]()
    parts = assemble(config)
    warm_start = supervised_trainer(parts)
    for _ in range(2 if args.quick else config.warm_start.steps):
        warm_start.step()
    params = warm_start.state.policy.params
    before = round(accuracy(parts, warm_start.decoder()), 4)
    print(f"before: {before:.1%}\n\n| algorithm | after | gain | s / iteration |\n|---|---|---|---|")
    results = {}
    for name in args.only:
        changed = dataclasses.replace(config, algorithm=algorithm(name, config.algorithm))
        found = results[name] = train(parts, changed, params, 2 if args.quick else args.iterations)
        gain, per_iteration = 100 * (found["after"] - before), found["seconds_per_iteration"]
        print(f"| {name} | {found['after']:.1%} | {gain:+.1f} | {per_iteration} |", flush=True)
    if not args.quick and args.only == list(ALGORITHMS):
        result = {"machine": machine(), "iterations": args.iterations, "before": before, "algorithms": results}
        write(result, RESULTS / "algorithms.json")


if __name__ == "__main__":
    main()
