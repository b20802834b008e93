# SPDX-License-Identifier: Apache-2.0
"""One small configuration for every test of the trainers, so that compiled programs are shared."""

import dataclasses

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
from ntl_jax.train.factory import Parts, assemble

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


@pytest.fixture(scope="session")
def tiny() -> RunConfig:
    return TINY


@pytest.fixture(scope="session")
def tiny_parts(tiny) -> Parts:
    return assemble(tiny)


@pytest.fixture(scope="session")
def tiny_gae_parts(tiny, tiny_parts) -> Parts:
    config = dataclasses.replace(tiny, algorithm=dataclasses.replace(tiny.algorithm, advantage="gae"))
    return dataclasses.replace(tiny_parts, config=config)
