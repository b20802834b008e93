# SPDX-License-Identifier: Apache-2.0
"""One small run for all tests that need one: a configuration, its policy, prompts, engine and scorer, made once."""

import dataclasses
from typing import Any

import jax
import pytest

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    ModelSection,
    OptimizerSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    WarmStartSection,
)
from ntl_jax.experience.digit_source import DigitSource
from ntl_jax.experience.scorer import Scorer
from ntl_jax.records import Params
from ntl_jax.rollout import RolloutEngine
from ntl_jax.tasks import Task
from ntl_jax.train.factory import build_engine, build_scoring, build_task, ppo_trainer
from ntl_jax.train.policy import Policy, build_params, build_policy
from ntl_jax.train.policy_optimization import PPOTrainer
from ntl_jax.train.prompts import Prompts, build_prompts

TINY = RunConfig(
    name="tiny",
    model=ModelSection(
        num_layers=2, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=64, mesh=(1, 1, 1)
    ),
    data=DataSection(tiers=(1,), max_number=9, num_train=200),
    warm_start=WarmStartSection(
        steps=4, batch_size=8, optimizer=OptimizerSection(learning_rate=3e-3, warmup_steps=2, schedule="cosine")
    ),
    rollout=RolloutSection(prompts_per_step=4, num_samples=4, max_tokens=24),
    algorithm=AlgorithmSection(optimizer=OptimizerSection(learning_rate=1e-3, warmup_steps=0)),
    trainer=TrainerSection(steps=4, eval_every=2, eval_problems=8, save_every=2),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What a run is made of, before its first step."""

    config: RunConfig
    task: Task
    policy: Policy
    initial: Params
    prompts: Prompts
    engine: RolloutEngine
    scorer: Scorer
    digits: DigitSource

    def params(self) -> Params:
        """A copy of the initial parameters, since updates take their memory."""
        return jax.tree.map(lambda x: x.copy(), self.initial)

    def changed(self, **sections: Any) -> "Setup":
        """The same policy, prompts and engine under a configuration with other sections; a dict changes fields."""
        replaced = {
            name: dataclasses.replace(getattr(self.config, name), **x) if isinstance(x, dict) else x
            for name, x in sections.items()
        }
        config = dataclasses.replace(self.config, **replaced)
        config.validate()
        scorer, digits = build_scoring(config, self.task, self.policy, self.prompts.shape(config.rollout.max_tokens))
        return dataclasses.replace(self, config=config, scorer=scorer, digits=digits)

    def trainer(self, params: Params | None = None) -> PPOTrainer:
        """A PPO trainer from the initial or other parameters, which it takes over."""
        params = self.params() if params is None else params
        return ppo_trainer(self.config, self.policy, params, self.prompts, self.engine, self.scorer, self.digits)


@pytest.fixture(scope="session")
def tiny() -> RunConfig:
    return TINY


@pytest.fixture(scope="session")
def setup(tiny) -> Setup:
    policy = build_policy(tiny)
    task = build_task(tiny)
    prompts = build_prompts(tiny, task, policy.tokenizer)
    scorer, digits = build_scoring(tiny, task, policy, prompts.shape(tiny.rollout.max_tokens))
    engine = build_engine(tiny.rollout, policy, max_prompt_tokens=prompts.longest)
    return Setup(tiny, task, policy, build_params(policy, seed=tiny.seed), prompts, engine, scorer, digits)
