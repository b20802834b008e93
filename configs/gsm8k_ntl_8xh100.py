# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5-7B-Instruct learns GSM8K on a machine with eight H100: four train, four sample with vLLM, over Ray.

Command:   python launch/train.py --config=gsm8k_ntl_8xh100
Hardware:  8 NVIDIA H100 with 80 GB; not yet run; launch/plan.py says what it takes
Expected:  not yet measured

Parameters, Adam's moments and gradients in float32 take 122 GB: 30 GB on each of the four GPUs that train. An iteration
learns from samples of the policy before the previous iteration (max_staleness=1). Problems are read from
gsm8k/train.jsonl and gsm8k/test.jsonl, GSM8K's own files (https://github.com/openai/grade-school-math).
"""

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    ModelSection,
    NTLSection,
    OptimizerSection,
    PoolSection,
    PromptSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    VllmSection,
    WarmStartSection,
)


def get_config() -> RunConfig:
    return RunConfig(
        name="gsm8k_ntl_8xh100",
        model=ModelSection(path="Qwen/Qwen2.5-7B-Instruct", compute_dtype="bfloat16", remat="layer", mesh=(1, 4, 1)),
        data=DataSection(train=("gsm8k/train.jsonl",), eval=("gsm8k/test.jsonl",)),
        prompt=PromptSection(suffix="Think step by step and give the final answer after ####."),
        warm_start=WarmStartSection(steps=0),
        rollout=RolloutSection(
            engine="pool",
            prompts_per_step=128,
            num_samples=8,
            max_tokens=512,
            pool=PoolSection(workers=4, engine="vllm", gpus_per_worker=1),
            max_staleness=1,
            vllm=VllmSection(gpu_memory_utilization=0.85),
        ),
        algorithm=AlgorithmSection(minibatches=4, optimizer=OptimizerSection(learning_rate=1e-6, warmup_steps=5)),
        ntl=NTLSection(method="wasserstein", weight=0.1),
        trainer=TrainerSection(
            steps=300,
            eval_every=25,
            eval_problems=1319,
            save_every=50,
            max_tokens_per_micro_batch=65_536,
            devices=(0, 1, 2, 3),
        ),
    )
