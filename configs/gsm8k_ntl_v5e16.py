# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5-1.5B-Instruct learns GSM8K on a TPU v5e slice of 16 chips, in four processes of four chips.

Command:   python launch/train.py --config=gsm8k_ntl_v5e16, on every host of the slice (recipes/gke_tpu.yaml)
Hardware:  TPU v5e, 4 x 4 chips with 16 GB; not yet run; launch/plan.py says what it takes
Expected:  not yet measured

Parameters, Adam's moments and gradients in float32 take 25 GB: 1.5 GB a chip, spread over all 16. Each host samples its
part of the prompts on its own four chips. Problems are read from gsm8k/train.jsonl and gsm8k/test.jsonl, GSM8K's own
files (https://github.com/openai/grade-school-math).
"""

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    ModelSection,
    NTLSection,
    OptimizerSection,
    PromptSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    WarmStartSection,
)


def get_config() -> RunConfig:
    return RunConfig(
        name="gsm8k_ntl_v5e16",
        model=ModelSection(path="Qwen/Qwen2.5-1.5B-Instruct", compute_dtype="bfloat16", remat="layer", mesh=(1, 16, 1)),
        data=DataSection(train=("gsm8k/train.jsonl",), eval=("gsm8k/test.jsonl",)),
        prompt=PromptSection(suffix="Think step by step and give the final answer after ####."),
        warm_start=WarmStartSection(steps=0),
        rollout=RolloutSection(prompts_per_step=128, num_samples=8, max_tokens=512, slots=64),
        algorithm=AlgorithmSection(minibatches=4, optimizer=OptimizerSection(learning_rate=1e-6, warmup_steps=5)),
        ntl=NTLSection(method="wasserstein", weight=0.1),
        trainer=TrainerSection(
            steps=300, eval_every=25, eval_problems=1319, save_every=50, max_tokens_per_micro_batch=65_536
        ),
    )
