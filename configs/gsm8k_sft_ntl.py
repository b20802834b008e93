# SPDX-License-Identifier: Apache-2.0
"""Supervised training alone: cross entropy + 0.3 Number Token Loss (Wasserstein) on the reference solutions.

Command:   python launch/train.py --config=gsm8k_sft_ntl
Hardware:  2 CPU cores

The objective of Zausinger et al., 2025 (https://arxiv.org/abs/2411.02083) with their best weight.
--config.warm_start.ntl_weight=0 is their baseline.
"""

from ntl_jax.config import DataSection, OptimizerSection, RolloutSection, RunConfig, TrainerSection, WarmStartSection


def get_config() -> RunConfig:
    return RunConfig(
        name="gsm8k_sft_ntl",
        data=DataSection(tiers=(1,), max_number=20, num_train=20_000),
        warm_start=WarmStartSection(
            steps=300,
            ntl_method="wasserstein",
            ntl_weight=0.3,
            optimizer=OptimizerSection(learning_rate=2e-3, schedule="cosine"),
        ),
        rollout=RolloutSection(max_tokens=32),
        trainer=TrainerSection(steps=0, save_every=100),
    )
