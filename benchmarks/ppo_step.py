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
from flax import nnx
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.measure import RESULTS, machine, median_ratio, write
from benchmarks.peer import Peer, answer, requests
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.models import Decoder, ModelConfig, save_hf
from ntl_jax.rewards import exact_match

SMALL = ModelConfig(
    vocab_size=1024, num_layers=4, width=256, num_heads=4, num_kv_heads=2, head_dim=64, feed_forward=704
)
TINY = ModelConfig(vocab_size=1024, num_layers=2, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=64)
NUM_PROMPTS, NUM_SAMPLES, MAX_TOKENS, PROMPT_TOKENS = 8, 8, 64, 32
LEARNING_RATE = 1e-6
TRUTH = "5"
PROBLEMS = 64
WARM_UP = 3
PACKAGES = {"trl": "trl", "tunix": "tunix"}
"""The package behind each peer."""


@dataclasses.dataclass(frozen=True)
class Files:
    """What every trainer reads: a Hugging Face folder and the problems."""

    policy: pathlib.Path
    problems: pathlib.Path

    def questions(self) -> list[str]:
        return [json.loads(line)["question"] for line in self.problems.read_text().splitlines()]


def reward(completions: list[str], **_: Any) -> list[float]:
    """Exact match, as the peers call a reward."""
    return [exact_match("gsm8k", text, TRUTH) for text in completions]


def write_files(model: ModelConfig, folder: pathlib.Path) -> Files:
    """A policy of random weights with a tokenizer of bytes, and problems of ``PROMPT_TOKENS`` letters."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [a + b for a in letters for b in letters]
    tokens = ["<|endoftext|>", *letters, *pairs][: model.vocab_size]
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=tokens[0], pad_token=tokens[0])
    files = Files(folder / "policy", folder / "problems.jsonl")
    save_hf(nnx.jit(lambda: Decoder(model, rngs=nnx.Rngs(0)))(), files.policy, tokenizer=tokenizer)
    rng = np.random.default_rng(0)
    questions = ("".join(rng.choice(list("abcdefgh "), PROMPT_TOKENS - 1)) + "?" for _ in range(PROBLEMS))
    rows = [json.dumps({"question": question, "answer": f"#### {TRUTH}"}) for question in questions]
    files.problems.write_text("\n".join(rows) + "\n")
    return files


def ours(files: Files) -> Callable[[], Any]:
    """The trainer's own step."""
    from ntl_jax.config import (
        AlgorithmSection,
        DataSection,
        ModelSection,
        OptimizerSection,
        RolloutSection,
        RunConfig,
        TrainerSection,
    )
    from ntl_jax.train import create_standard_trainer

    optimizer = OptimizerSection(learning_rate=LEARNING_RATE, warmup_steps=0)
    config = RunConfig(
        model=ModelSection(path=str(files.policy), mesh=(1, 1, 1)),
        data=DataSection(train=str(files.problems), eval=str(files.problems), template="{question}"),
        rollout=RolloutSection(prompts_per_step=NUM_PROMPTS, num_samples=NUM_SAMPLES, max_tokens=MAX_TOKENS),
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

    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=NUM_PROMPTS * NUM_SAMPLES,
            num_generations=NUM_SAMPLES,
            max_completion_length=MAX_TOKENS,
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

    model = ModelConfig.from_hf(files.policy)
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
        max_tokens_to_generate=MAX_TOKENS,
        max_prompt_length=PROMPT_TOKENS,
        kv_cache_size=PROMPT_TOKENS + MAX_TOKENS + 1,
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
        rl_cluster=cluster, reward_fns=[reward], algo_config=GRPOConfig(num_generations=NUM_SAMPLES, beta=0.0)
    )
    questions = files.questions()

    def turns() -> Iterator[dict[str, np.ndarray]]:
        for turn, _ in enumerate(requests()):
            began, first = time.perf_counter(), turn * NUM_PROMPTS
            yield {"prompts": np.array([questions[(first + i) % PROBLEMS] for i in range(NUM_PROMPTS)])}
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
    settings = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return Peer("benchmarks.ppo_step", ["--serve", name, str(files.policy), str(files.problems)], settings)


def measure(peers: dict[str, Peer], num_rounds: int) -> dict[str, Any]:
    """Seconds and memory of each, and how many times longer the others take than the first."""
    turns = np.empty((WARM_UP + num_rounds, len(peers), 2))  # seconds, peak memory
    for round_index in range(len(turns)):
        for which in np.roll(np.arange(len(peers)), round_index).tolist():
            turns[round_index, which] = list(peers.values())[which].turn()
    seconds = turns[WARM_UP:, :, 0]
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
    parser.add_argument("--serve", nargs=3, metavar=("NAME", "POLICY", "PROBLEMS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        name, policy, problems = args.serve
        return serve(name, Files(pathlib.Path(policy), pathlib.Path(problems)))

    model, num_rounds = (TINY, 3) if args.quick else (SMALL, args.rounds)
    names = ["ours", *(name for name in args.only if importlib.util.find_spec(PACKAGES[name]))]
    result: dict[str, Any] = {"machine": machine(), "model": dataclasses.asdict(model), "rounds": num_rounds}
    result["prompts x samples x tokens"] = [NUM_PROMPTS, NUM_SAMPLES, MAX_TOKENS]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        files = write_files(model, pathlib.Path(folder))
        peers = {name: running.enter_context(contextlib.closing(peer_of(name, files))) for name in names}
        result |= measure(peers, num_rounds)
    print(json.dumps(result, indent=2))
    if not args.quick or args.output:
        write(result, args.output or RESULTS / f"ppo_step-{jax.default_backend()}.json")


if __name__ == "__main__":
    main()
