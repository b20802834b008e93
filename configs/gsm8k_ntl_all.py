# SPDX-License-Identifier: Apache-2.0
"""As gsm8k_ntl, but the true digits are those of every equation in the response, not those of the final answer.

Command:   python launch/train.py --config=gsm8k_ntl_all
Hardware:  2 CPU cores

A step such as ``<<3*4=12>>12`` is evaluated exactly, so that a response earns NTL credit for correct arithmetic even
where its answer is wrong; exact match is still half of the reward. --config.ntl.reward_mode=hybrid adds the answer.
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
        name="gsm8k_ntl_all",
        data=DataSection(tiers=(1,), max_number=10, num_train=10_000),
        warm_start=WarmStartSection(steps=65, optimizer=OptimizerSection(learning_rate=2e-3, schedule="constant")),
        rollout=RolloutSection(prompts_per_step=32, num_samples=8, max_tokens=32),
        algorithm=AlgorithmSection(
            minibatches=8, optimizer=OptimizerSection(learning_rate=1e-4, warmup_steps=5, schedule="cosine")
        ),
        ntl=NTLSection(method="wasserstein", weight=0.1, reward_mode="all_tokens"),
        trainer=TrainerSection(steps=150, eval_every=25, save_every=50),
    )
