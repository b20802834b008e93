# SPDX-License-Identifier: Apache-2.0
"""What NTL costs a PPO iteration: the NTL trainer's step beside the standard trainer's, on the main job's shapes.

Claim: with NTL in reward and loss an iteration of `gsm8k_ntl` (sampling, reward, update) takes at most 2% longer than
one of plain PPO, in the median.

    python -m benchmarks.ntl_overhead           # writes benchmarks/results/ntl_overhead.json
    python -m benchmarks.ntl_overhead --quick   # a tiny policy and few pairs: does it run?

Both trainers start from one policy, that of the warm start, and learn next to nothing, so that they sample the same
responses to the same prompts throughout; their steps take turns. The standard trainer beside itself is measured too: it
says what a ratio of 1 looks like on this machine.
"""

import argparse
import dataclasses
import json
import pathlib
import runpy
from collections.abc import Callable
from typing import Any

import jax

from benchmarks.measure import RESULTS, machine, ratio, write
from ntl_jax.config import NTLSection, RunConfig
from ntl_jax.train.factory import assemble, ppo_trainer, supervised_trainer

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "gsm8k_ntl.py"
STANDSTILL = 1e-12  # learning rate


def main_job(quick: bool) -> RunConfig:
    """The configuration of the main job, with updates that change nothing."""
    config: RunConfig = runpy.run_path(str(CONFIG))["get_config"]()
    optimizer = dataclasses.replace(config.algorithm.optimizer, learning_rate=STANDSTILL)
    config = dataclasses.replace(config, algorithm=dataclasses.replace(config.algorithm, optimizer=optimizer))
    if not quick:
        return config
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, num_layers=1, width=32, feed_forward=32),
        data=dataclasses.replace(config.data, num_train=200),
        warm_start=dataclasses.replace(config.warm_start, steps=2),
        rollout=dataclasses.replace(config.rollout, prompts_per_step=4),
        trainer=dataclasses.replace(config.trainer, eval_problems=8),
    )


def warm_policy(config: RunConfig) -> Any:
    """The parameters after the warm start."""
    trainer = supervised_trainer(assemble(config))
    for _ in range(config.warm_start.steps):
        trainer.step()
    return trainer.state.policy.params


def iteration(config: RunConfig, ntl: NTLSection, params: Any) -> Callable[[], Any]:
    """The step of a trainer with an engine of its own, and a copy of the policy (its state is donated)."""
    parts = assemble(dataclasses.replace(config, ntl=ntl))
    return ppo_trainer(parts, jax.tree.map(lambda x: x.copy(), params)).step


def main() -> None:
    parser = argparse.ArgumentParser(description="What NTL costs a PPO iteration.")
    parser.add_argument("--quick", action="store_true", help="a tiny policy and few pairs")
    parser.add_argument("--pairs", type=int, default=100, help="alternating pairs for each ratio")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    args = parser.parse_args()

    config, num_pairs = main_job(args.quick), 3 if args.quick else args.pairs
    params, none = warm_policy(config), NTLSection(enabled=False)
    candidates = {
        "standard": none,
        "ntl_final_answer": config.ntl,
        "ntl_all_tokens": dataclasses.replace(config.ntl, reward_mode="all_tokens"),
    }
    standard = iteration(config, none, params)
    result: dict[str, Any] = {"machine": machine(), "pairs": num_pairs}
    for name, section in candidates.items():
        candidate = iteration(config, section, params)
        for _ in range(2):  # batches of other lengths are compiled apart
            standard()
        result[name] = ratio(standard, candidate, num_pairs)
        print(name, json.dumps(result[name]))
    if not args.quick or args.output:
        write(result, args.output or RESULTS / "ntl_overhead.json")


if __name__ == "__main__":
    main()
