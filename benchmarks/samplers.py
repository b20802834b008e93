# SPDX-License-Identifier: Apache-2.0
"""What benchmarks of sampling compare: the JAX engine and vLLM, on the same weights and prompts, taking turns."""

import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.measure import median_ratio
from benchmarks.peer import Peer, answer, requests
from benchmarks.shapes import QWEN2_5_0_5B, QWEN2_5_1_5B, SMOLLM2_135M
from ntl_jax.models import Decoder, ModelConfig, make_mesh, save_hf
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Prompt, Sampling, Version, Weights
from ntl_jax.rollout import JaxEngine

DIGIT_IDS = tuple(range(15, 25))
FIRST_STOP_ID, MEAN_LENGTH = 30, 40
ENDING_MAX_TOKENS = 128

SHAPES = {
    "small": ModelConfig(1024, num_layers=4, width=256, num_heads=8, num_kv_heads=4, head_dim=32, feed_forward=768),
    "30M": ModelConfig(8192, num_layers=8, width=512, num_heads=8, num_kv_heads=4, head_dim=64, feed_forward=1536),
    "135M": SMOLLM2_135M,
    "0.5B": QWEN2_5_0_5B,
    "1.5B": QWEN2_5_1_5B,
}
PROMPT_TOKENS = 32
VLLM_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
}


def make_decoder(config: ModelConfig) -> Decoder:
    return nnx.jit(lambda: Decoder(config, rngs=nnx.Rngs(0)))()


def make_prompts(count: int, length: int, vocab_size: int) -> list[Prompt]:
    ids = np.random.default_rng(0).integers(0, vocab_size, (count, length)).astype(np.int32)
    return [Prompt(i, row, "", "0") for i, row in enumerate(ids)]


def digit_table(config: ModelConfig) -> NumberTable:
    vocab = {str(digit): token_id for digit, token_id in enumerate(DIGIT_IDS)}
    return NumberTable.from_vocab(vocab, vocab_size=config.vocab_size)


def in_bfloat16(config: ModelConfig) -> ModelConfig:
    return dataclasses.replace(config, param_dtype="bfloat16", compute_dtype="bfloat16")


def stop_ids(config: ModelConfig, ending: bool) -> tuple[int, ...]:
    return tuple(range(FIRST_STOP_ID, FIRST_STOP_ID + config.vocab_size // MEAN_LENGTH)) if ending else ()


class Ours:
    """The engine under test; a turn returns tokens and seconds."""

    def __init__(
        self, decoder: Decoder, *, slots: int, prompt_tokens: int = PROMPT_TOKENS, tile_slots: int | None = None
    ):
        mesh, table = make_mesh((1, 1, 1), jax.devices()[:1]), digit_table(decoder.config)
        self.config = decoder.config
        self.engine = JaxEngine(
            decoder.config, table, mesh=mesh, slots=slots, max_prompt_tokens=prompt_tokens, tile_slots=tile_slots
        )
        self.engine.publish(Weights(Version(0), nnx.state(decoder, nnx.Param)))
        self._prompt_tokens, self._turn = prompt_tokens, 0

    def turn(
        self, num_prompts: int, num_samples: int, max_tokens: int, *, stops: tuple[int, ...] = (), digits: bool = True
    ) -> tuple[int, float]:
        prompts = make_prompts(num_prompts, self._prompt_tokens, self.config.vocab_size)
        sampling = Sampling(num_samples, max_tokens, stop_token_ids=stops, capture_digits=digits)
        self._turn += 1
        start = time.perf_counter()
        trajectories = self.engine.generate(prompts, sampling, seed=self._turn)
        return sum(len(t.response_ids) for t in trajectories), time.perf_counter() - start


def serve(folder: str, dtype: str) -> None:
    """The other process: one line of JSON in, one out, for each turn."""
    from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]

    config = ModelConfig.from_hf(folder)
    llm = LLM(
        folder,
        dtype=dtype,
        skip_tokenizer_init=True,
        enforce_eager=True,
        gpu_memory_utilization=0.3,
        max_model_len=1024,
        max_num_seqs=512,
        enable_prefix_caching=True,
        logprobs_mode="processed_logprobs",
        max_logprobs=16,
    )
    for num_prompts, num_samples, max_tokens, ending, digits in requests():
        capture = {"logprob_token_ids": list(DIGIT_IDS)} if digits else {"logprobs": 0}
        params = SamplingParams(
            n=num_samples,
            max_tokens=max_tokens,
            temperature=1.0,
            ignore_eos=True,
            stop_token_ids=list(stop_ids(config, ending)),
            detokenize=False,
            flat_logprobs=True,
            **capture,
        )
        prompts = [
            {"prompt_token_ids": p.ids.tolist()} for p in make_prompts(num_prompts, PROMPT_TOKENS, config.vocab_size)
        ]
        llm.reset_prefix_cache()
        start = time.perf_counter()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        columns = [np.asarray(o.logprobs.logprobs, np.float32) for output in outputs for o in output.outputs]
        seconds = time.perf_counter() - start
        tokens = sum(len(o.token_ids) for output in outputs for o in output.outputs)
        assert sum(map(len, columns)) == tokens * (11 if digits else 1)
        answer([tokens, seconds])


@contextlib.contextmanager
def vllm_on(decoder: Decoder, dtype: str) -> Iterator[Callable[..., tuple[int, float]]]:
    """vLLM with these weights; a turn of it is called like one of ours."""

    def turn(*workload: int, ending: bool = False, digits: bool = True) -> tuple[int, float]:
        tokens, seconds = vllm.turn([*workload, ending, digits])
        return tokens, seconds

    with tempfile.TemporaryDirectory() as folder:
        save_hf(decoder, folder)
        with contextlib.closing(Peer("benchmarks.samplers", [folder, dtype], VLLM_SETTINGS)) as vllm:
            yield turn


def compare(sides: dict[str, Callable[[], tuple[int, float]]], repeats: int) -> dict[str, Any]:
    """Median tokens/s of each side, and of the first over each other one, from alternating turns."""
    for turn in sides.values():
        turn()
    rates = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in list(sides) if repeat % 2 else reversed(list(sides)):
            tokens, seconds = sides[name]()
            rates[name].append(tokens / seconds)
    first, *others = sides
    result: dict[str, Any] = {name: round(float(np.median(rate)), 1) for name, rate in rates.items()}
    for other in others:
        result[f"{first} / {other}"] = median_ratio(np.array(rates[first]) / np.array(rates[other]))
    return result


if __name__ == "__main__":
    serve(*sys.argv[1:])
