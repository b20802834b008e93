# SPDX-License-Identifier: Apache-2.0
"""As gsm8k_ntl, but plain PPO: exact match is the reward, and no loss has an NTL term. The run to compare with.

Command:   python launch/train.py --config=gsm8k_ppo
Hardware:  2 CPU cores

The warm start is without NTL too; set --config.warm_start.ntl_weight=0.3 to begin with the policy of gsm8k_ntl.
"""

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    NTLSection,
    OptimizerSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    WarmStartSection,
)


def get_config() -> RunConfig:
    return RunConfig(
        name="gsm8k_ppo",
        data=DataSection(tiers=(1,), max_number=10, num_train=10_000),
        warm_start=WarmStartSection(
            steps=65, ntl_weight=0.0, optimizer=OptimizerSection(learning_rate=2e-3, schedule="constant")
        ),
        rollout=RolloutSection(prompts_per_step=32, num_samples=8, max_tokens=32),
        algorithm=AlgorithmSection(
            minibatches=8, optimizer=OptimizerSection(learning_rate=1e-4, warmup_steps=5, schedule="cosine")
        ),
        ntl=NTLSection(enabled=False),
        trainer=TrainerSection(steps=150, eval_every=25, save_every=50),
    )
