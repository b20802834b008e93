# SPDX-License-Identifier: Apache-2.0
"""What a whole PPO iteration costs (sample, score, update), beside the trainers that others use.

Aim: on CPU, float32, a 3.2M-parameter Qwen2, 8 prompts x 8 samples x 64 tokens, group advantages, one update: at
least 2x faster than TRL's GRPOTrainer (PyTorch, transformers' generate), and than google-tunix's GRPO learner.

    python -m benchmarks.ppo_step           # writes benchmarks/results/ppo_step-PLATFORM.json
    python -m benchmarks.ppo_step --quick   # a tiny policy and few rounds: does it run?

Every trainer has a process of its own, which is stopped while another has its turn; turns alternate. A ratio is the
median over rounds with its 95% interval. Weights, prompts, tokenizer, reward and optimizer are the same; weights are
random, so that nearly every response has its full length. A process's peak memory is beside its time. Peers that are
not installed (extra `dev-peers`; google-tunix) are left out.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.measure import RESULTS, machine, median_ratio, write
from benchmarks.peer import Peer, answer, requests
from benchmarks.policy_files import PROBLEMS, TRUTH, Files, Workload, write_files
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.models import ModelConfig
from ntl_jax.rewards import exact_match

SMALL = ModelConfig(
    vocab_size=1024, num_layers=4, width=256, num_heads=4, num_kv_heads=2, head_dim=64, feed_forward=704
)
TINY = ModelConfig(vocab_size=1024, num_layers=2, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=64)
LEARNING_RATE = 1e-6
WARM_UP = 3
PACKAGES = {"trl": "trl", "tunix": "tunix"}
"""The package behind each peer."""
SETTINGS = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Environment variables of every peer."""


def reward(completions: list[str], **_: Any) -> list[float]:
    """Exact match, as the peers call a reward."""
    return [exact_match("gsm8k", text, TRUTH) for text in completions]


def ours(files: Files) -> Callable[[], Any]:
    """The trainer's own step."""
    from ntl_jax.config import (
        AlgorithmSection,
        DataSection,
        ModelSection,
        OptimizerSection,
        PromptSection,
        RolloutSection,
        RunConfig,
        TrainerSection,
    )
    from ntl_jax.train import create_standard_trainer

    optimizer, work = OptimizerSection(learning_rate=LEARNING_RATE, warmup_steps=0), files.workload
    num_prompts, num_samples, max_tokens = work.num_prompts, work.num_samples, work.max_tokens
    config = RunConfig(
        model=ModelSection(path=str(files.policy), mesh=(1, 1, 1)),
        data=DataSection(
            train=(str(files.problems),),
            eval=(str(files.held_out),),
            max_prompt_tokens=work.prompt_tokens,
            on_long_row="error",
        ),
        prompt=PromptSection(template="{question}"),
        rollout=RolloutSection(prompts_per_step=num_prompts, num_samples=num_samples, max_tokens=max_tokens),
        algorithm=AlgorithmSection(minibatches=1, optimizer=optimizer),
        trainer=TrainerSection(eval_problems=1),
    )
    return create_standard_trainer(config).step


def serve_steps(step: Callable[[], Any]) -> None:
    """One step for each request."""
    for _ in requests():
        began = time.perf_counter()
        step()
        answer_seconds(began)


def serve_trl(files: Files) -> None:
    """TRL drives its own loop: it waits for its turn where a step begins, and answers where it ends."""
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportMissingImports]

    class Turns(TrainerCallback):
        asked, began = requests(), 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            next(self.asked)
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            answer_seconds(self.began)

    work = files.workload
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=work.num_prompts * work.num_samples,
            num_generations=work.num_samples,
            max_completion_length=work.max_tokens,
            max_steps=1_000_000,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=str(files.policy),
            reward_funcs=reward,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": files.questions()}),
            callbacks=[Turns()],
        )
        trainer.train()


def serve_tunix(files: Files) -> None:
    """google-tunix drives its own loop too: it waits for its turn where it asks for the next prompts."""
    import optax
    from transformers import AutoTokenizer
    from tunix.models.qwen2 import model as qwen2  # pyright: ignore[reportMissingImports]
    from tunix.models.qwen2.params import create_model_from_safe_tensors  # pyright: ignore[reportMissingImports]
    from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner  # pyright: ignore[reportMissingImports]
    from tunix.rl.rl_cluster import (  # pyright: ignore[reportMissingImports]
        ClusterConfig,
        RLCluster,
        RLTrainingConfig,
        Role,
    )
    from tunix.rl.rollout.base_rollout import RolloutConfig  # pyright: ignore[reportMissingImports]

    model, work = ModelConfig.from_hf(files.policy), files.workload
    config = qwen2.ModelConfig(
        num_layers=model.num_layers,
        vocab_size=model.vocab_size,
        embed_dim=model.width,
        hidden_dim=model.feed_forward,
        num_heads=model.num_heads,
        head_dim=model.head_dim,
        num_kv_heads=model.num_kv_heads,
        rope_theta=int(model.rope_theta),
        norm_eps=model.norm_eps,
        use_tied_embedding=model.tie_embeddings,
    )
    mesh = jax.make_mesh((1, 1), ("fsdp", "tp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    training = RLTrainingConfig(
        actor_optimizer=optax.adamw(LEARNING_RATE), eval_every_n_steps=1_000_000, max_steps=1_000_000
    )
    rollout = RolloutConfig(
        max_tokens_to_generate=work.max_tokens,
        max_prompt_length=work.prompt_tokens,
        kv_cache_size=work.prompt_tokens + work.max_tokens + 1,
        temperature=1.0,
    )
    cluster = RLCluster(
        actor=create_model_from_safe_tensors(str(files.policy), config, mesh),
        tokenizer=AutoTokenizer.from_pretrained(files.policy),
        cluster_config=ClusterConfig(
            role_to_mesh=dict.fromkeys((Role.ACTOR, Role.REFERENCE, Role.ROLLOUT), mesh),
            training_config=training,
            rollout_config=rollout,
        ),
    )
    learner = GRPOLearner(
        rl_cluster=cluster, reward_fns=[reward], algo_config=GRPOConfig(num_generations=work.num_samples, beta=0.0)
    )
    questions = files.questions()

    def turns() -> Iterator[dict[str, np.ndarray]]:
        for turn, _ in enumerate(requests()):
            began, first = time.perf_counter(), turn * work.num_prompts
            yield {"prompts": np.array([questions[(first + i) % PROBLEMS] for i in range(work.num_prompts)])}
            answer_seconds(began)

    learner.train(turns())


def answer_seconds(began: float) -> None:
    """What a trainer's process says after each turn: how long it took, and the most memory it has had."""
    seconds = time.perf_counter() - began
    # Not getrusage: its maximum outlives exec, and would be that of the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text()
    (peak_kb,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    answer([seconds, int(peak_kb) * 1024])


def serve(name: str, files: Files) -> None:
    """A trainer's process."""
    match name:
        case "ours":
            keep_freed_memory()
            serve_steps(ours(files))
        case "trl":
            serve_trl(files)
        case "tunix":
            serve_tunix(files)


def peer_of(name: str, files: Files) -> Peer:
    """A trainer's process, once it is ready."""
    return Peer("benchmarks.ppo_step", ["--serve", name, str(files.folder)], SETTINGS)


def measure(peers: dict[str, Peer], num_rounds: int, warm_up: int = WARM_UP) -> dict[str, Any]:
    """Seconds and memory of each, and how many times longer the others take than the first."""
    turns = np.empty((warm_up + num_rounds, len(peers), 2))  # seconds, peak memory
    for round_index in range(len(turns)):
        for which in np.roll(np.arange(len(peers)), round_index).tolist():
            turns[round_index, which] = list(peers.values())[which].turn()
    seconds = turns[warm_up:, :, 0]
    result: dict[str, Any] = {}
    for index, name in enumerate(peers):
        result[name] = {
            "median_s": round(float(np.median(seconds[:, index])), 4),
            "peak_memory_mb": round(turns[-1, index, 1] / 2**20),
        }
        if index:
            result[name]["over_ours"] = median_ratio(seconds[:, index] / seconds[:, 0])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="What a whole PPO iteration costs, beside other trainers.")
    parser.add_argument("--quick", action="store_true", help="a tiny policy, few rounds, nothing written")
    parser.add_argument("--rounds", type=int, default=40, help="measured iterations of each trainer")
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="some peers")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        name, folder = args.serve
        return serve(name, Files(pathlib.Path(folder)))

    model, num_rounds = (TINY, 3) if args.quick else (SMALL, args.rounds)
    workload = Workload()
    names = ["ours", *(name for name in args.only if importlib.util.find_spec(PACKAGES[name]))]
    result: dict[str, Any] = {"machine": machine(), "model": dataclasses.asdict(model), "rounds": num_rounds}
    result |= dataclasses.asdict(workload)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        files = write_files(model, pathlib.Path(folder), workload)
        peers = {name: running.enter_context(contextlib.closing(peer_of(name, files))) for name in names}
        result |= measure(peers, num_rounds)
    print(json.dumps(result, indent=2))
    if not args.quick or args.output:
        write(result, args.output or RESULTS / f"ppo_step-{jax.default_backend()}.json")


if __name__ == "__main__":
    main()
