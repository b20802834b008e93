# SPDX-License-Identifier: Apache-2.0
"""PPO trainers with a pool whose workers' engines are made by a benchmark."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    ModelSection,
    OptimizerSection,
    PoolSection,
    RewardSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    WarmStartSection,
)
from ntl_jax.models import abstract_decoder
from ntl_jax.rollout import JaxEngine, RayPool, RolloutEngine
from ntl_jax.rollout.pool.crew import Placement
from ntl_jax.rollout.pool.dispatcher import Limits
from ntl_jax.rollout.pool.pool import PATIENT
from ntl_jax.train.engines import BYTES_PER_TOKEN, EngineParts, build_engine, worker_engine
from ntl_jax.train.factory import build_scoring, build_task, ppo_trainer
from ntl_jax.train.policy import Policy, build_params, build_policy
from ntl_jax.train.prompts import build_prompts
from ntl_jax.train.stages.policy_optimization import PPOTrainer

MEAN_LENGTH, SPREAD, MAX_TOKENS = 40, 0.8, 128
"""Of responses, whose lengths are log-normal, with SPREAD as the logarithm's standard deviation, and cut."""
STOP = "\n"
MakeEngine = Callable[[EngineParts, str], RolloutEngine]
"""Makes a worker's engine, as `make_engine`."""


def score(data_source: str, solution_str: str, ground_truth: str, extra_info: object, **_: Any) -> float:
    """A reward that differs from sample to sample."""
    return len(solution_str) % 7 / 6


def make_config(
    *, num_prompts: int, model: ModelSection, minibatches: int, epochs: int = 1, max_tokens: int = MAX_TOKENS
) -> RunConfig:
    """A run from scratch, whose policy hardly changes, so that all iterations cost the same."""
    optimizer = OptimizerSection(learning_rate=1e-6, warmup_steps=0, schedule="constant")
    return RunConfig(
        name="pool",
        model=model,
        data=DataSection(tiers=(1,), max_number=10, num_train=2000),
        warm_start=WarmStartSection(steps=0),
        rollout=RolloutSection(
            engine="pool",
            prompts_per_step=num_prompts,
            num_samples=8,
            max_tokens=max_tokens,
            slots=num_prompts * 8,
            stop_strings=(STOP,),
            pool=PoolSection(workers=1),
        ),
        algorithm=AlgorithmSection(minibatches=minibatches, epochs=epochs, optimizer=optimizer),
        reward=RewardSection(function="benchmarks.pool_runs:score"),
        trainer=TrainerSection(steps=100_000, eval_problems=1),
    )


def log_normal_length(rng: np.random.Generator) -> int:
    """A length before it is cut."""
    return max(2, round(MEAN_LENGTH * math.exp(SPREAD * rng.standard_normal() - SPREAD**2 / 2)))


class LogNormalLengths:
    """Ends a response at a length that its first two tokens decide.

    Stands in for a tokenizer's decoder: one character for each token, and `STOP` for the last.
    """

    def __call__(self, ids: np.ndarray) -> tuple[str, np.ndarray]:
        length = log_normal_length(np.random.default_rng(ids[:2].tolist()))
        text = "." * len(ids)
        return text[: length - 1] + STOP + text[length:] if length <= len(ids) else text, np.arange(len(ids))


def with_log_normal_lengths(engine: RolloutEngine) -> RolloutEngine:
    """A JAX engine, before its first request, with responses that `LogNormalLengths` ends."""
    assert isinstance(engine, JaxEngine)
    engine._setup = dataclasses.replace(engine._setup, decode_text=LogNormalLengths())
    return engine


def make_engine(parts: EngineParts, compilation_cache: str) -> RolloutEngine:
    """A worker's engine."""
    return with_log_normal_lengths(worker_engine(parts, compilation_cache))


class PoolRun(NamedTuple):
    """A trainer and its engine."""

    trainer: PPOTrainer
    engine: RolloutEngine


def build(config: RunConfig, engine_of: Callable[[RunConfig, Policy, int], RolloutEngine]) -> PoolRun:
    """The run before its first step.

    Args:
        config: all settings.
        engine_of: (config, policy, longest prompt) -> the engine.
    """
    policy = build_policy(config)
    task = build_task(config)
    prompts = build_prompts(config, task, policy.tokenizer)
    scoring = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
    engine = engine_of(config, policy, prompts.longest)
    params = build_params(policy, seed=config.seed)
    return PoolRun(ppo_trainer(config, policy, params, prompts, engine, *scoring), engine)


def in_process(config: RunConfig, policy: Policy, longest: int) -> RolloutEngine:
    """The engine of the trainer's own process."""
    return with_log_normal_lengths(build_engine(with_engine(config, "jax"), policy, max_prompt_tokens=longest))


def pool_of(
    config: RunConfig,
    policy: Policy,
    longest: int,
    *,
    make_engine: MakeEngine = make_engine,
    limits: Limits = PATIENT,
    address: str | None = None,
) -> RayPool:
    """A pool of ``rollout.pool.workers`` workers."""
    rollout, model = config.rollout, policy.model
    slots = rollout.slots
    assert slots is not None
    digits = jax.tree.map(np.asarray, policy.digits)
    parts = EngineParts(rollout, model, digits, policy.tokenizer, longest, slots=slots)
    num_tokens = rollout.prompts_per_step * rollout.num_samples * rollout.max_tokens
    return RayPool(
        functools.partial(make_engine, parts, config.trainer.compilation_cache),
        rollout.pool.workers,
        capacity=slots,
        version_bytes=4 * sum(math.prod(x.shape) for x in jax.tree.leaves(abstract_decoder(model)[1])),
        trajectory_bytes=(rollout.max_staleness + 2) * num_tokens * BYTES_PER_TOKEN,
        max_staleness=rollout.max_staleness,
        placement=Placement(environment={"JAX_PLATFORMS": "cpu"}),
        limits=limits,
        address=address,
    )


def with_engine(config: RunConfig, name: str, **rollout: Any) -> RunConfig:
    """The configuration with another engine and other settings of ``rollout``."""
    if name == "jax":
        rollout |= {"pool": PoolSection(), "max_staleness": 0}
    return dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, engine=name, **rollout))
