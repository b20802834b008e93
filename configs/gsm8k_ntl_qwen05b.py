# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5-0.5B-Instruct on GSM8K: PPO with Number Token Loss on the final answer, vLLM sampling in this process.

Command:   XLA_PYTHON_CLIENT_MEM_FRACTION=0.5 python launch/train.py --config=gsm8k_ntl_qwen05b
Hardware:  one NVIDIA GPU with 80 GB; not yet measured
Expected:  not yet measured

Sizes and schedule are near those of verl's GSM8K recipe for this model
(https://verl.readthedocs.io/en/latest/start/quickstart.html), but the baseline is a prompt's mean, not a critic.

JAX and vLLM share the GPU: the fraction above is JAX's, rollout.vllm.gpu_memory_utilization vLLM's. Problems are read
from gsm8k/train.jsonl and gsm8k/test.jsonl, GSM8K's own files (https://github.com/openai/grade-school-math).
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
    VllmSection,
    WarmStartSection,
)


def get_config() -> RunConfig:
    return RunConfig(
        name="gsm8k_ntl_qwen05b",
        model=ModelSection(path="Qwen/Qwen2.5-0.5B-Instruct", compute_dtype="bfloat16", remat="layer"),
        data=DataSection(train=("gsm8k/train.jsonl",), eval=("gsm8k/test.jsonl",)),
        prompt=PromptSection(suffix="Think step by step and give the final answer after ####."),
        warm_start=WarmStartSection(steps=0),
        rollout=RolloutSection(
            engine="vllm",
            prompts_per_step=128,
            num_samples=8,
            max_tokens=512,
            vllm=VllmSection(gpu_memory_utilization=0.4),
        ),
        algorithm=AlgorithmSection(minibatches=4, optimizer=OptimizerSection(learning_rate=1e-6, warmup_steps=5)),
        ntl=NTLSection(method="mse", weight=0.1),
        trainer=TrainerSection(
            steps=300, eval_every=25, eval_problems=1319, save_every=100, max_tokens_per_micro_batch=65_536
        ),
    )
