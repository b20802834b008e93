# SPDX-License-Identifier: Apache-2.0
"""How fast the in-process engine samples, beside vLLM on the same machine, weights and prompts.

Claims on a CPU, float32, ten digits captured on both sides: with a 3.4M-parameter Qwen2, 64 prompts x 8 samples x 64
tokens at least 1.5x vLLM's tokens/s; with a 30M one and the shape of Qwen2.5-0.5B at least 1.0x (fewer samples there),
with the shape of SmolLM2-135M, 8 x 8 samples x 128 tokens, at least 1.1x.
Capturing the digits costs at most 2%. On a GPU: tokens/s of the shapes of Qwen2.5-0.5B and 1.5B in bfloat16, and the
share of the bound that reading weights and cache sets.

    python -m benchmarks.rollout                       # writes benchmarks/results/rollout-PLATFORM.json and .png
    python -m benchmarks.rollout --quick               # few repeats, only the smallest shape: does it run?
    python -m benchmarks.rollout --only small growth   # some parts

vLLM (where it is installed) runs in a process of its own, stopped while the engine has its turn. Turns alternate; of
each side's tokens/s the median is reported, and of the ratio of neighboring turns the median with its 95% interval.
"Ending" responses end with one of V / 40 stop tokens: weights are random and predictions near uniform, so that lengths
are geometric with mean 40 on both sides, cut at 128. Tokens are counted as they come.
"""

import argparse
import importlib.util
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.measure import RESULTS, device_peak, machine, write
from benchmarks.samplers import ENDING_MAX_TOKENS, SHAPES, Ours, compare, in_bfloat16, make_decoder, stop_ids, vllm_on
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.models import Decoder, ModelConfig
from ntl_jax.models.hf.names import hf_tensors

# Prompts, samples of each, tokens of a fixed-length response, slots.
WORKLOADS = {"small": (64, 8, 64, 512), "30M": (16, 8, 32, 128), "135M": (8, 8, 128, 64), "0.5B": (4, 8, 16, 32)}
ON_ACCELERATOR = (128, 8, 256, 128)
"""Prompts, samples of each, tokens of a response and of a prompt."""


def measure_shape(name: str, repeats: int, with_vllm: bool) -> dict[str, Any]:
    """Fixed and ending lengths, with digits and without, beside vLLM; bfloat16 there for the smallest shape only."""
    decoder = make_decoder(SHAPES[name])
    num_prompts, num_samples, max_tokens, slots = WORKLOADS[name]
    fixed = (num_prompts, num_samples, max_tokens)
    ours = Ours(decoder, slots=slots)
    result: dict[str, Any] = {
        "parameters": sum(x.size for x in jax.tree.leaves(nnx.state(decoder))),
        "prompts x samples x tokens": fixed,
        "slots": slots,
        "tokens/s of the products alone": products_rate(decoder, slots, 10 * repeats),
    }
    if name != "135M":  # takes minutes
        sides = {"ours, no digits": lambda: ours.turn(*fixed, digits=False), "ours": lambda: ours.turn(*fixed)}
        result["capture"] = compare(sides, repeats)
    if not with_vllm:
        return result
    ending, stops = (num_prompts, num_samples, ENDING_MAX_TOKENS), stop_ids(decoder.config, True)
    for dtype in ("float32", "bfloat16") if name == "small" else ("float32",):
        with vllm_on(decoder, dtype) as vllm:
            sides: dict[str, Callable[[], tuple[int, float]]] = {
                "ours": lambda: ours.turn(*fixed),
                f"vllm {dtype}": lambda vllm=vllm: vllm(*fixed),
            }
            if dtype == "float32" and name != "135M":
                sides["vllm float32, no digits"] = lambda vllm=vllm: vllm(*fixed, digits=False)
            result[f"fixed, {dtype}"] = compare(sides, repeats)
            if name == "small":
                sides = {
                    "ours": lambda: ours.turn(*ending, stops=stops),
                    f"vllm {dtype}": lambda vllm=vllm: vllm(*ending, ending=True),
                }
                result[f"ending, {dtype}"] = compare(sides, repeats) | {
                    "slot_use": round(float(ours.engine.slot_use), 3)
                }
    return result


def products_rate(decoder: Decoder, rows: int, repeats: int) -> float:
    """Tokens/s if a step with so many rows were the products with every weight matrix and nothing else."""
    # [inputs, outputs]; a tied head is the embedding.
    matrices = [array.T for _, array in hf_tensors(decoder) if array.ndim == 2]
    inputs = {size: jnp.ones((rows, size)) for size in {matrix.shape[0] for matrix in matrices}}
    multiply = jax.jit(lambda inputs, matrices: [inputs[matrix.shape[0]] @ matrix for matrix in matrices])
    placed, times = [jnp.asarray(np.ascontiguousarray(matrix)) for matrix in matrices], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(multiply(inputs, placed))
        times.append(time.perf_counter() - start)
    return round(rows / float(np.median(times[1:])), 1)


def measure_growth(repeats: int, quick: bool) -> list[dict[str, Any]]:
    """Tokens/s of the smallest shape over batch and context: prompts of the context less 32, and 32 tokens."""
    decoder, rows = make_decoder(SHAPES["small"]), []
    for context in (64,) if quick else (64, 256, 1024):
        for batch in (1, 8) if quick else (1, 8, 64, 512):
            ours = Ours(decoder, slots=batch, prompt_tokens=context - 32)
            samples = min(batch, 8)
            rate = compare({"ours": lambda ours=ours, b=batch, g=samples: ours.turn(b // g, g, 32)}, repeats)
            rows.append({"context": context, "batch": batch, "tokens_per_s": rate["ours"]})
            print(rows[-1], flush=True)
    return rows


def plot_growth(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for context in sorted({row["context"] for row in rows}):
        line = [row for row in rows if row["context"] == context]
        label = f"context {context}"
        axes.plot([row["batch"] for row in line], [row["tokens_per_s"] for row in line], marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel="samples at a time", ylabel="tokens/s")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def measure_accelerator(config: ModelConfig, work: tuple[int, int, int, int], repeats: int) -> dict[str, Any]:
    """Tokens/s, and the share of what reading weights and cache from the device's memory allows.

    The memory's rate is the device's own if it is in the table, else that of a large copy.
    """
    num_prompts, num_samples, max_tokens, prompt_tokens = work
    decoder, peak = make_decoder(config), device_peak()
    ours = Ours(decoder, slots=num_prompts * num_samples, prompt_tokens=prompt_tokens)
    rate = compare({"ours": lambda: ours.turn(num_prompts, num_samples, max_tokens)}, repeats)["ours"]
    itemsize = jnp.dtype(config.compute_dtype).itemsize
    per_position = 2 * config.num_layers * config.num_kv_heads * config.head_dim * itemsize
    cached = num_prompts * (prompt_tokens + num_samples * max_tokens / 2)  # positions a step reads, on average
    weights = sum(x.nbytes for x in jax.tree.leaves(nnx.state(decoder)))
    step_bytes, bandwidth = weights + cached * per_position, peak.bytes_per_s if peak else copy_bandwidth()
    bound = num_prompts * num_samples * bandwidth / step_bytes
    return {
        "tokens_per_s": rate,
        "bytes_per_step": int(step_bytes),
        "weights_bytes": weights,
        "memory_bytes_per_s": int(bandwidth),
        "memory_rate_from": "table" if peak else "copy",
        "bound_tokens_per_s": round(bound, 1),
        "share_of_bound": round(rate / bound, 3),
    }


def copy_bandwidth() -> float:
    """Bytes read and written per second by a large elementwise operation."""
    x = jnp.ones(1 << (25 if jax.default_backend() == "cpu" else 29), jnp.bfloat16)
    add = jax.jit(lambda x: x + 1)
    add(x).block_until_ready()
    times = []
    for _ in range(10):
        start = time.perf_counter()
        add(x).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * x.nbytes / float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the engine samples, beside vLLM.")
    parser.add_argument("--quick", action="store_true", help="only the smallest shape, few repeats")
    parser.add_argument("--only", nargs="+", default=["small", "30M", "135M", "0.5B", "growth", "accelerator"])
    parser.add_argument("--repeats", type=int, default=9, help="turns of each side")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    args = parser.parse_args()
    keep_freed_memory()
    repeats, on_cpu = 2 if args.quick else args.repeats, jax.default_backend() == "cpu"
    with_vllm = on_cpu and importlib.util.find_spec("vllm") is not None
    result: dict[str, Any] = {"machine": machine(), "repeats": repeats}
    for name in ("small",) if args.quick else WORKLOADS:
        if name in args.only:
            result[name] = measure_shape(name, repeats, with_vllm)
            print(name, json.dumps(result[name], indent=2), flush=True)
    if "growth" in args.only:
        result["growth"] = measure_growth(min(repeats, 3), args.quick)
    if "accelerator" in args.only and not on_cpu:
        result["accelerator"] = {
            name: measure_accelerator(in_bfloat16(SHAPES[name]), ON_ACCELERATOR, min(repeats, 3))
            for name in ("0.5B", "1.5B")
        }
    print(json.dumps(result, indent=2))
    if not args.quick or args.output:
        output = args.output or RESULTS / f"rollout-{jax.default_backend()}.json"
        write(result, output)
        if "growth" in result:
            plot_growth(result["growth"], output.with_suffix(".png"))


if __name__ == "__main__":
    main()
