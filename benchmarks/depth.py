# SPDX-License-Identifier: Apache-2.0
"""What deep models cost with layers stacked, beside the same layers unrolled: compiling, a step, memory, sampling.

Claims on a CPU, nothing cached: a train step at the shapes of SmolLM2-135M (30 layers) and Qwen2.5-0.5B (24 layers)
compiles in less than half the time, takes at most 1.05x the time of the unrolled one and needs no more memory; the
engine's first answer takes at most half the time, its later ones at most 1.05x.

    python -m benchmarks.depth           # writes benchmarks/results/depth-PLATFORM.json
    python -m benchmarks.depth --quick   # smallest shapes and few steps: does it run?

A step is that of benchmarks/step.py. The part `depths` finds the depth from which `model.scan_layers=auto` stacks
layers (``MIN_DEPTH`` in ntl_jax/models/stacking.py), at the width of the default run. Times of steps and answers are
from alternating turns: a ratio is the median over pairs with its 95% interval.
"""

import argparse
import dataclasses
import gc
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.measure import RESULTS, machine, ratio, write
from benchmarks.samplers import Ours, make_decoder
from benchmarks.shapes import QWEN2_5_0_5B, SMOLLM2_135M
from benchmarks.step import Case, random_batch, random_params, train_step
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.models import ModelConfig, abstract_decoder, batch_sharding, make_mesh
from ntl_jax.update.state import TrainState

TINY = ModelConfig(64, num_layers=3, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=64)
DEFAULT_RUN = ModelConfig(64, num_layers=4, width=128, num_heads=4, num_kv_heads=2, head_dim=32, feed_forward=384)
CASES = {"smollm2-135m": Case(SMOLLM2_135M, 8, 256), "qwen2.5-0.5b": Case(QWEN2_5_0_5B, 4, 256)}
TIMED = ("smollm2-135m",)
"""Cases whose two train states fit in the memory of a small machine."""
DEPTHS = (2, 4, 8, 12, 30)
UNROLLED, STACKED = "unrolled", "stacked"


def both(case: Case) -> dict[str, Case]:
    """The case with layers unrolled and stacked."""
    return {
        name: dataclasses.replace(case, model=dataclasses.replace(case.model, scan_layers=name == STACKED))
        for name in (UNROLLED, STACKED)
    }


def compiled_step(case: Case) -> tuple[Callable[[TrainState, Any], Any], dict[str, float]]:
    """The compiled step, and what compiling it cost; no arrays are created."""
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    step, begin = train_step(case, mesh)
    batch = jax.device_put(random_batch(case), batch_sharding(mesh))
    start = time.perf_counter()
    lowered = step.lower(jax.eval_shape(begin, abstract_decoder(case.model)[1]), batch)
    traced = time.perf_counter()
    compiled = lowered.compile()
    end, memory = time.perf_counter(), compiled.memory_analysis()
    assert memory is not None, "CPU, GPU and TPU all say how much memory a program takes"
    cost = {"trace_s": traced - start, "compile_s": end - traced, "total_s": end - start}
    return compiled, cost | {"temporary_mb": memory.temp_size_in_bytes / 2**20}


def looped(case: Case, compiled: Callable[[TrainState, Any], Any]) -> Callable[[], None]:
    """A turn: one step of a state that the turns continue."""
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    held = [train_step(case, mesh)[1](random_params(case, mesh))]
    batch = jax.device_put(random_batch(case), batch_sharding(mesh))

    def run() -> None:
        held[0], *rest = compiled(held[0], batch)
        jax.block_until_ready((held[0], rest))

    return run


def measure_step(case: Case, num_steps: int) -> dict[str, Any]:
    """Both steps: what compiling costs and, with ``num_steps``, how long they take."""
    cases = both(case)
    compiled = {name: compiled_step(one) for name, one in cases.items()}
    result: dict[str, Any] = {"model": dataclasses.asdict(case.model), "rows": [case.num_rows, case.row_size]}
    result |= {name: rounded(cost) for name, (_, cost) in compiled.items()}
    unrolled, stacked = (compiled[name][1] for name in (UNROLLED, STACKED))
    result["over_unrolled"] = rounded({name: stacked[name] / unrolled[name] for name in ("total_s", "temporary_mb")})
    if num_steps:
        turns = [looped(cases[name], step) for name, (step, _) in compiled.items()]
        result["step_over_unrolled"] = ratio(turns[0], turns[1], num_steps)
    return result


def measure_depths(depths: tuple[int, ...], case: Case, num_steps: int) -> dict[str, Any]:
    """The step of a narrow model at several depths."""
    models = [dataclasses.replace(case.model, num_layers=depth) for depth in depths]
    return {str(m.num_layers): depth_of(dataclasses.replace(case, model=m), num_steps) for m in models}


def depth_of(case: Case, num_steps: int) -> dict[str, Any]:
    found = measure_step(case, num_steps)
    gc.collect()
    return {name: found[name] for name in (UNROLLED, STACKED, "over_unrolled", "step_over_unrolled")}


def measure_engine(model: ModelConfig, num_pairs: int) -> dict[str, Any]:
    """Seconds from a new engine to its first answer, and later answers side by side."""
    first, turns = {}, []
    for name, case in both(Case(model, 0, 0)).items():
        decoder = make_decoder(case.model)
        jax.block_until_ready(nnx.state(decoder))
        start = time.perf_counter()
        engine = Ours(decoder, slots=32, prompt_tokens=64)
        engine.turn(4, 8, 32)
        first[name] = time.perf_counter() - start
        turns.append(lambda engine=engine: engine.turn(4, 8, 32))
    answers = ratio(turns[0], turns[1], num_pairs)
    return {"first_answer_s": rounded(first), "ratio": round(first[STACKED] / first[UNROLLED], 3), "later": answers}


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(float(np.asarray(value)), 3) for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="What deep models cost, stacked and unrolled.")
    parser.add_argument("--quick", action="store_true", help="smallest shapes, few steps, nothing written")
    parser.add_argument("--steps", type=int, default=20, help="pairs of steps and of answers")
    parser.add_argument("--only", nargs="*", default=None, help="some parts: cases, depths, engine; nothing written")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    args = parser.parse_args()
    keep_freed_memory()
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is what is measured

    quick, num_steps = args.quick, 3 if args.quick else args.steps
    cases = {"tiny": Case(TINY, 4, 32)} if quick else CASES
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda name=name, case=case: measure_step(case, num_steps if quick or name in TIMED else 0)
        for name, case in cases.items()
    }
    narrow = Case(TINY, 4, 32) if quick else Case(DEFAULT_RUN, 64, 96)
    parts["depths"] = lambda: measure_depths((2, 3) if quick else DEPTHS, narrow, num_steps)
    parts["engine"] = lambda: measure_engine(TINY if quick else SMOLLM2_135M, 3 if quick else num_steps)
    result: dict[str, Any] = {"machine": machine(), "steps": num_steps}
    for name, part in parts.items():
        if args.only is None or name in args.only:
            result[name] = part()
            print(json.dumps({name: result[name]}, indent=2), flush=True)
    if not quick and args.only is None:
        write(result, args.output or RESULTS / f"depth-{jax.default_backend()}.json")


if __name__ == "__main__":
    main()
