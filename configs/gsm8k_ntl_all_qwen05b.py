# SPDX-License-Identifier: Apache-2.0
"""As gsm8k_ntl_qwen05b, but the true digits are those of every equation in the response.

Command:   XLA_PYTHON_CLIENT_MEM_FRACTION=0.5 python launch/train.py --config=gsm8k_ntl_all_qwen05b
Hardware:  one NVIDIA GPU with 80 GB; not yet measured
Expected:  not yet measured

GSM8K's solutions write ``<<3*4=12>>12``; a policy that writes plain equations (3 * 4 = 12) earns the same credit.

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
        name="gsm8k_ntl_all_qwen05b",
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
        ntl=NTLSection(method="mse", weight=0.1, reward_mode="all_tokens"),
        trainer=TrainerSection(
            steps=300, eval_every=25, eval_problems=1319, save_every=100, max_tokens_per_micro_batch=65_536
        ),
    )
