# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct learns to add numbers to 99 in its own chat format: PPO with Number Token Loss.

Command:   make smollm2 && python launch/train.py --config=smollm2_arithmetic
Hardware:  2 CPU cores, about 20 minutes beside other work
Expected:  held-out accuracy 9 -> 65 (seed 0), 11 -> 72 (seed 1), 11 -> 66 (seed 2), greedy, 256 problems;
           as plain PPO (--config.ntl.enabled=false) 9 -> 61 (seed 0), 11 -> 68 (seed 1), 11 -> 61 (seed 2)

The answer is the number that a response begins with; the prompt ends in "The answer is ", and all responses begin with
a number before training too. Pairs of operands that are held out are trained on in neither order. The pattern marks the
answer, so that the actor's Number Token Loss applies to its digits: without a mark, the last number of a response may
belong to a step.
"""

from ntl_jax.config import (
    AlgorithmSection,
    AnswerSection,
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
        name="smollm2_arithmetic",
        model=ModelSection(path="models/smollm2-135m"),
        data=DataSection(task="calculations", max_number=99),
        prompt=PromptSection(suffix="Answer with the number only.", prefix="The answer is "),
        answer=AnswerSection(pattern="^([0-9]+)"),
        warm_start=WarmStartSection(steps=0),
        rollout=RolloutSection(prompts_per_step=16, num_samples=8, max_tokens=6),
        algorithm=AlgorithmSection(minibatches=2, optimizer=OptimizerSection(learning_rate=1e-5, warmup_steps=5)),
        ntl=NTLSection(method="wasserstein", weight=0.1),
        trainer=TrainerSection(steps=40, eval_every=20, eval_problems=256, save_every=20),
    )
