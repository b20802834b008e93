# SPDX-License-Identifier: Apache-2.0
"""What each algorithm makes of the same tiny policy in as many iterations: held-out accuracy before and after.

Claims: every algorithm improves the arithmetic policy of gsm8k_ntl by at least 10 points in half of its iterations (75,
one to two minutes; ReMax, whose baseline is a single response's score, and REINFORCE, which has no clip for the eight
updates of an iteration, in all 150). Counting iterations gives the same numbers on a busy machine as on a quiet one.

    python -m benchmarks.algorithms                    # all of them; writes benchmarks/results/algorithms.json
    python -m benchmarks.algorithms --only gspo remax  # some, nothing written
    python -m benchmarks.algorithms --quick            # two iterations each: does it run?

One warm start serves all. Learning rates are gsm8k_ntl's, constant, unless the table of algorithms says otherwise: for
none of them was one searched for.
"""

import argparse
import dataclasses
import runpy
from typing import Any

import jax

from benchmarks.measure import RESULTS, machine, write
from ntl_jax.config import (
    AlgorithmSection,
    CispoSection,
    ClippedSection,
    CorrectionSection,
    GspoSection,
    KLSection,
    OptimizerSection,
    RunConfig,
)
from ntl_jax.experience.digits.source import DigitSource
from ntl_jax.experience.scorer import Scorer
from ntl_jax.records import Params, Version, Weights
from ntl_jax.rollout import RolloutEngine
from ntl_jax.train.engines import build_engine
from ntl_jax.train.evaluation import evaluation_metrics
from ntl_jax.train.factory import (
    build_evaluator,
    build_scoring,
    build_task,
    ppo_trainer,
    supervised_trainer,
    supervised_update,
)
from ntl_jax.train.policy import Policy, build_params, build_policy
from ntl_jax.train.prompts import Prompts, build_prompts

CONFIG = RESULTS.parents[1] / "configs" / "gsm8k_ntl.py"
SEQUENCE_MEAN = "seq-mean-token-mean"
ALGORITHMS: dict[str, dict[str, Any]] = {
    "group": {},
    "group-without-deviation": {"normalize_groups": False, "aggregation": "seq-mean-token-sum-norm"},
    "dapo": {
        "clipped": ClippedSection(clip_high=0.28),
        "dynamic_sampling": True,
        "overlong": "penalty",
        "overlong_buffer": 4,
    },
    "leave-one-out": {"advantage": "leave_one_out"},
    "reinforce++": {"advantage": "reinforce_plus_plus"},
    "reinforce++-baseline": {"advantage": "reinforce_plus_plus_baseline"},
    "optimal-baseline": {"advantage": "optimal_baseline"},
    "remax": {"advantage": "remax"},
    "gae": {"advantage": "gae"},
    "gae-shared": {"advantage": "gae", "critic": "shared", "critic_warmup": 2, "critic_learning_rate": 1e-3},
    "dual-clip": {"clipped": ClippedSection(dual_clip=3.0), "entropy_weight": 0.001},
    "gspo": {"objective": "gspo", "gspo": GspoSection(clip_low=3e-3, clip_high=4e-3), "aggregation": SEQUENCE_MEAN},
    "cispo": {"objective": "cispo", "cispo": CispoSection(clip_high=0.28)},
    "sapo": {"objective": "sapo", "aggregation": SEQUENCE_MEAN},
    "reinforce": {"objective": "reinforce"},
    "kl-in-loss": {"kl": KLSection(weight=0.01)},
    "kl-in-reward": {"kl": KLSection(weight=0.01, place="reward", estimator="k1", controller="adaptive")},
    "recompute": {"old_log_probs": "recompute", "correction": CorrectionSection()},
    "muon": {"optimizer": OptimizerSection(name="muon", learning_rate=1e-4, warmup_steps=5)},
    "adafactor": {"optimizer": OptimizerSection(name="adafactor", learning_rate=1e-4, warmup_steps=5)},
}

ITERATIONS, MORE_ITERATIONS = 75, {"remax": 150, "reinforce": 150}


def algorithm(name: str, base: AlgorithmSection) -> AlgorithmSection:
    """The section of gsm8k_ntl with the algorithm's settings and a constant learning rate."""
    constant = dataclasses.replace(base.optimizer, schedule="constant")
    return dataclasses.replace(base, **{"optimizer": constant} | ALGORITHMS[name])


@dataclasses.dataclass(frozen=True, eq=False)
class Shared:
    """What all algorithms train and sample with."""

    config: RunConfig
    policy: Policy
    prompts: Prompts
    engine: RolloutEngine
    scorer: Scorer
    digits: DigitSource

    def accuracy(self, params: Params) -> float:
        """Of greedy responses to the held-out problems."""
        evaluate = build_evaluator(self.config, self.policy, self.prompts, self.engine, self.scorer, self.digits)
        return evaluation_metrics(evaluate(Weights(Version(0), params)))["val/accuracy"]

    def train(self, config: RunConfig, params: Params, iterations: int) -> float:
        """The accuracy that the policy comes to."""
        config.validate()
        params = jax.tree.map(lambda x: x.copy(), params)
        trainer = ppo_trainer(config, self.policy, params, self.prompts, self.engine, self.scorer, self.digits)
        for _ in range(iterations):
            trainer.step()
        return self.accuracy(trainer.state.policy.params)


def build(config: RunConfig) -> Shared:
    """All of it, from the configuration."""
    policy, task = build_policy(config), build_task(config)
    prompts = build_prompts(config, task, policy.tokenizer)
    scoring = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
    engine = build_engine(config, policy, max_prompt_tokens=prompts.longest)
    return Shared(config, policy, prompts, engine, *scoring)


def main() -> None:
    parser = argparse.ArgumentParser(description="What each algorithm makes of the same tiny policy.")
    parser.add_argument("--only", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--quick", action="store_true", help="two iterations each, nothing written")
    args = parser.parse_args()
    config: RunConfig = runpy.run_path(str(CONFIG))["get_config"]()
    shared = build(config)
    update = supervised_update(config, shared.policy, shared.prompts)
    warm_start = supervised_trainer(config, update, build_params(shared.policy, seed=config.seed))
    for _ in range(2 if args.quick else config.warm_start.steps):
        warm_start.step()
    params = warm_start.state.policy.params
    before = shared.accuracy(params)
    print(f"before: {before:.1%}\n\n| algorithm | iterations | after | gain |\n|---|---|---|---|")
    results = {}
    for name in args.only:
        changed = dataclasses.replace(config, algorithm=algorithm(name, config.algorithm))
        iterations = 2 if args.quick else MORE_ITERATIONS.get(name, ITERATIONS)
        after = shared.train(changed, params, iterations)
        results[name] = {"iterations": iterations, "after": round(after, 4)}
        print(f"| {name} | {iterations} | {after:.1%} | {100 * (after - before):+.1f} |", flush=True)
    if not args.quick and args.only == list(ALGORITHMS):
        result = {"machine": machine(), "before": round(before, 4), "algorithms": results}
        write(result, RESULTS / "algorithms.json")


if __name__ == "__main__":
    main()
