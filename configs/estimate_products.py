# SPDX-License-Identifier: Apache-2.0
"""A tiny policy estimates products of numbers to 99: PPO with a reward for closeness, where exact answers are too rare.

Command:   python launch/train.py --config=estimate_products
Hardware:  2 CPU cores, about 2 minutes
Expected:  median relative error of greedy answers 0.42 -> 0.13 (seed 0), 512 held-out problems; exact 2.1 -> 1.4%

The answer is written at once, without steps. After the warm start about one greedy answer in a hundred is exact, so
that nearly all groups of samples have equal exact-match rewards and teach nothing. `relative_closeness` says which of
several wrong answers is nearer: docs/evidence.md compares it with other rewards.
"""

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    NTLSection,
    OptimizerSection,
    RewardSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    WarmStartSection,
)


def get_config() -> RunConfig:
    return RunConfig(
        name="estimate_products",
        data=DataSection(task="calculations", operations=("*",), max_number=99),
        warm_start=WarmStartSection(
            steps=150, ntl_weight=0.0, optimizer=OptimizerSection(learning_rate=2e-3, schedule="cosine")
        ),
        rollout=RolloutSection(prompts_per_step=32, num_samples=8, max_tokens=8),
        algorithm=AlgorithmSection(
            minibatches=8, optimizer=OptimizerSection(learning_rate=1e-4, warmup_steps=5, schedule="constant")
        ),
        reward=RewardSection(function="ntl_jax.rewards:relative_closeness"),
        ntl=NTLSection(weight=0.0, temperature=0.1),
        trainer=TrainerSection(steps=150, eval_every=25, save_every=50),
    )
