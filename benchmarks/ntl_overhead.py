# SPDX-License-Identifier: Apache-2.0
"""What NTL costs a PPO iteration: the NTL trainer's step beside the standard trainer's, on the main job's shapes.

Claim: with NTL in reward and loss an iteration of `gsm8k_ntl` (sampling, reward, update) takes at most 2% longer than
one of plain PPO, in the median.

    python -m benchmarks.ntl_overhead           # writes benchmarks/results/ntl_overhead.json
    python -m benchmarks.ntl_overhead --quick   # a tiny policy and few rounds: does it run?

Both trainers start from one policy, that of the warm start, and learn next to nothing, so that they sample the same
responses to the same prompts throughout; their steps take turns. The standard trainer beside itself is measured too: it
says what a ratio of 1 looks like on this machine.
"""

import argparse
import dataclasses
import json
import pathlib
import runpy
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks.measure import RESULTS, machine, median_ratio, write
from ntl_jax.config import NTLSection, RunConfig
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.records import Params
from ntl_jax.train.engines import build_engine
from ntl_jax.train.factory import (
    build_scoring,
    build_task,
    ppo_trainer,
    supervised_trainer,
    supervised_update,
)
from ntl_jax.train.policy import build_params, build_policy
from ntl_jax.train.prompts import build_prompts

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "gsm8k_ntl.py"
STANDSTILL = 1e-12  # learning rate
WARM_UP = 5  # rounds in which programs for batches of other lengths are still compiled


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


def warm_policy(config: RunConfig) -> Params:
    """The parameters after the warm start."""
    policy = build_policy(config)
    prompts = build_prompts(config, build_task(config), policy.tokenizer)
    update = supervised_update(config, policy, prompts)
    trainer = supervised_trainer(config, update, build_params(policy, seed=config.seed))
    for _ in range(config.warm_start.steps):
        trainer.step()
    return trainer.state.policy.params


def iteration(config: RunConfig, ntl: NTLSection, params: Params) -> Callable[[], Any]:
    """The step of a trainer with an engine of its own, and a copy of the policy (its state is donated)."""
    config = dataclasses.replace(config, ntl=ntl)
    policy, task = build_policy(config), build_task(config)
    prompts = build_prompts(config, task, policy.tokenizer)
    scoring = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
    engine = build_engine(config, policy, max_prompt_tokens=prompts.longest)
    params = jax.tree.map(lambda x: x.copy(), params)
    return ppo_trainer(config, policy, params, prompts, engine, *scoring).step


def measure(steps: Sequence[Callable[[], Any]], num_rounds: int) -> np.ndarray:
    """[rounds, trainers] seconds; in every round each trainer does the same iteration, and another one begins."""
    seconds = np.empty((WARM_UP + num_rounds, len(steps)))
    for round_index in range(len(seconds)):
        for which in np.roll(np.arange(len(steps)), round_index).tolist():
            began = time.perf_counter()
            steps[which]()
            seconds[round_index, which] = time.perf_counter() - began
    return seconds[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description="What NTL costs a PPO iteration.")
    parser.add_argument("--quick", action="store_true", help="a tiny policy and few rounds")
    parser.add_argument("--rounds", type=int, default=100, help="iterations of each trainer")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    args = parser.parse_args()
    keep_freed_memory()
    config, num_rounds = main_job(args.quick), 3 if args.quick else args.rounds
    params = warm_policy(config)
    plain = NTLSection(enabled=False)
    sections = {
        "baseline": plain,
        "standard": plain,
        "ntl_final_answer": config.ntl,
        "ntl_all_tokens": dataclasses.replace(config.ntl, reward_mode="all_tokens"),
    }
    steps = [iteration(config, section, params) for section in sections.values()]
    result: dict[str, Any] = {"machine": machine(), "rounds": num_rounds}
    seconds = measure(steps, num_rounds)
    for index, name in enumerate(sections):
        median_s = {"median_s": round(float(np.median(seconds[:, index])), 5)}
        result[name] = median_s if index == 0 else median_ratio(seconds[:, index] / seconds[:, 0]) | median_s
        print(name, json.dumps(result[name]))
    if not args.quick or args.output:
        write(result, args.output or RESULTS / "ntl_overhead.json")


if __name__ == "__main__":
    main()
