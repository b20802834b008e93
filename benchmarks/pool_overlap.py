# SPDX-License-Identifier: Apache-2.0
"""Part of `benchmarks.pool`: seconds per iteration where sampling and updates alternate, and where they overlap."""

import contextlib
import functools
import os
import pathlib
import time
from typing import Any

import numpy as np

from benchmarks.measure import median_ratio
from benchmarks.peer import Peer, answer, requests
from benchmarks.pool_runs import PoolRun, build, in_process, make_config, make_engine, pool_of, with_engine
from ntl_jax.config import ModelSection, RunConfig
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.rollout import RolloutEngine
from ntl_jax.train.engines import EngineParts

MODEL = ModelSection(
    num_layers=6, width=512, num_heads=8, num_kv_heads=2, head_dim=64, feed_forward=1536, mesh=(1, 1, 1)
)
TINY = ModelSection(num_layers=2, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=64, mesh=(1, 1, 1))
SIDES = {"overlap": 1, "lockstep": 0, "in-process": 0}
"""max_staleness of each side. The first two have one core for the trainer and one for a worker, the last one both."""
TRAINER_CORE, WORKER_CORE = 0, 1
NUM_ITERATIONS = 4
"""Of a turn, beside the first one, whose samples were drawn before."""


def config_of(quick: bool) -> RunConfig:
    return make_config(num_prompts=4 if quick else 1, model=TINY if quick else MODEL, minibatches=1)


def pin(core: int) -> None:
    """Keeps this process, with the threads that it has, on a core."""
    for thread in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})


def pinned_engine(parts: EngineParts, compilation_cache: str) -> RolloutEngine:
    pin(WORKER_CORE)
    return make_engine(parts, compilation_cache)


def make_run(side: str, quick: bool) -> PoolRun:
    config = config_of(quick)
    if side == "in-process":
        return build(with_engine(config, "jax"), in_process)
    pin(TRAINER_CORE)
    config = with_engine(config, "pool", max_staleness=SIDES[side])
    return build(config, functools.partial(pool_of, make_engine=pinned_engine))


def serve(side: str, quick: bool) -> None:
    """The other process: a turn of iterations for each request; nothing is left to sample at its end."""
    keep_freed_memory()
    trainer, engine = make_run(side, quick)
    with contextlib.closing(engine):
        for num_iterations in requests():
            trainer.step()
            rows, began = [], time.perf_counter()
            for _ in range(num_iterations):
                rows.append(trainer.step()[0])
            seconds = (time.perf_counter() - began) / num_iterations
            trainer.wait()
            answer({"iteration_s": seconds} | _shares(rows))


def _shares(rows: list[dict[str, float]]) -> dict[str, float]:
    step = np.array([row["timing_s/step"] for row in rows])
    waiting = np.array([row["timing_s/gen"] for row in rows])
    shares = {
        "waits_for_samples": float((waiting / step).mean()),
        "publishes": float((np.array([row["timing_s/update_weights"] for row in rows]) / step).mean()),
        "length": float(np.mean([row["response_length/mean"] for row in rows])),
    }
    if "pool/worker_use" in rows[0]:
        shares["worker_samples"] = float(np.mean([row["pool/worker_use"] for row in rows]))
    return shares


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Medians of each side, and each side's iteration over the overlapping one's."""
    num_iterations = 2 if quick else NUM_ITERATIONS
    rows: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with contextlib.ExitStack() as stack:
        peers = {}
        for side in SIDES:
            arguments = ["--serve", side] + ["--quick"] * quick
            peers[side] = stack.enter_context(contextlib.closing(Peer("benchmarks.pool", arguments)))
        for peer in peers.values():
            peer.turn(num_iterations)
        for number in range(rounds):
            for side in list(SIDES) if number % 2 else reversed(list(SIDES)):
                rows[side].append(peers[side].turn(num_iterations))
                print(number, side, rows[side][-1], flush=True)
    config = config_of(quick).rollout
    result: dict[str, Any] = {"prompts x samples": [config.prompts_per_step, config.num_samples], "rounds": rounds}
    for side, turns in rows.items():
        result[side] = {name: round(float(np.median([turn[name] for turn in turns])), 4) for name in turns[0]}
    ours = np.array([turn["iteration_s"] for turn in rows["overlap"]])
    for side in ("lockstep", "in-process"):
        result[f"{side} / overlap"] = median_ratio(np.array([turn["iteration_s"] for turn in rows[side]]) / ours)
    return result
