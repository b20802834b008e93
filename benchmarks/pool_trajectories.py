# SPDX-License-Identifier: Apache-2.0
"""Part of `benchmarks.pool`: what it costs to bring samples from a worker into the rows that an update reads."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks.pool_overlap import config_of
from benchmarks.pool_runs import build, in_process, log_normal_length, pool_of, with_engine
from ntl_jax.config import RunConfig
from ntl_jax.models import batch_sharding, make_mesh
from ntl_jax.records import Prompt, Request, Sampling, Trajectory, Version, VersionSpan, Weights
from ntl_jax.rollout import RayPool, RolloutEngine
from ntl_jax.rows.layout import Layout
from ntl_jax.rows.padding import RowShape, pad_tokens
from ntl_jax.train.engines import BYTES_PER_TOKEN, EngineParts
from ntl_jax.train.policy import Policy

ITERATIONS = 6


class Canned(RolloutEngine):
    """Answers at once, with samples that were made before: tokens are random, lengths log-normal and cut."""

    def __init__(self):
        super().__init__()
        self._groups: dict[Sampling, list[Trajectory]] = {}
        self._version = Version(0)

    def publish(self, weights: Weights) -> None:
        self._version = weights.version

    def retract(self) -> None:
        pass

    @property
    def lent(self) -> bool:
        return False

    @property
    def unfinished(self) -> int:
        return len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.sampling not in self._groups:
                self._groups[request.sampling] = samples(request.sampling, self._version)
            group = self._groups[request.sampling]
            self._finished.append([_of(t, request.prompt) for t in group])

    def _sample(self) -> list[list[Trajectory]]:
        return []

    def metrics(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._finished.clear()


def samples(sampling: Sampling, version: Version) -> list[Trajectory]:
    """A group."""
    rng, group = np.random.default_rng(0), []
    for index in range(sampling.num_samples):
        length = min(sampling.max_tokens, log_normal_length(rng))
        ids = rng.integers(0, 400, length).astype(np.int32)
        log_probs, digits = (rng.standard_normal(shape).astype(np.float32) for shape in (length, (length, 10)))
        spans = (VersionSpan(0, length, version),)
        group.append(Trajectory(0, index, ids[:1], ids, log_probs, digits, "length", spans))
    return group


def _of(t: Trajectory, prompt: Prompt) -> Trajectory:
    return Trajectory(
        prompt.index, t.sample_index, prompt.ids, t.response_ids, t.rollout_log_probs, t.digit_log_probs,
        t.finish_reason, t.versions, draw=prompt.draw,
    )  # fmt: skip


def canned(parts: EngineParts, compilation_cache: str) -> RolloutEngine:
    return Canned()


def to_device(prompts: Sequence[Prompt], trajectories: Sequence[Trajectory], layout: Layout) -> None:
    """Rows, targets and log-probs on the device; the digits' log-probs are for rewards, on the host."""
    responses = [t.response_ids for t in trajectories]
    nothing = [np.full(len(ids), np.nan, np.float32) for ids in responses]
    rows, targets = layout.rows([p.ids for p in prompts], responses, numbers=nothing)
    size = targets.mask.shape[1]
    log_probs = pad_tokens([t.rollout_log_probs for t in trajectories], size, 0.0, np.float32)
    sharding = batch_sharding(make_mesh((1, 1, 1), jax.devices()[:1]))
    jax.block_until_ready(jax.device_put((rows, targets, log_probs), sharding))


def iteration_seconds(config: RunConfig) -> float:
    """Of an iteration of as many samples, with the in-process engine."""
    trainer, engine = build(with_engine(config, "jax"), in_process)
    seconds = []
    with contextlib.closing(engine):
        for _ in range(ITERATIONS + 2):
            start = time.perf_counter()
            trainer.step()
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[2:]))


def measure(quick: bool, repeats: int) -> dict[str, Any]:
    config = config_of(quick)
    iteration_s = iteration_seconds(config)
    shape, sampling = RowShape(32 + config.rollout.max_tokens, config.rollout.max_tokens), Sampling(8, 128)
    prompts = [Prompt(i, np.arange(24, dtype=np.int32), "", "0") for i in range(config.rollout.prompts_per_step)]
    pools: list[RayPool] = []

    def keep(config: RunConfig, policy: Policy, longest: int) -> RayPool:
        pools.append(pool_of(config, policy, longest=64, make_engine=canned))
        return pools[0]

    trainer, pool = build(config, keep)
    with contextlib.closing(pool):
        pool.publish(trainer.weights())
        receive, place, num_tokens = [], [], 0
        layout, asked = Layout("shared", shape, 8), [prompt for prompt in prompts for _ in range(8)]
        for _ in range(repeats + 3):
            start = time.perf_counter()
            trajectories = pool.generate(prompts, sampling, seed=0)
            received = time.perf_counter()
            to_device(asked, trajectories, layout)
            receive.append(received - start)
            place.append(time.perf_counter() - received)
            num_tokens = sum(len(t.response_ids) for t in trajectories)
    receive_s, place_s = (float(np.median(x[3:])) for x in (receive, place))
    total, num_bytes = receive_s + place_s, num_tokens * BYTES_PER_TOKEN
    return {
        "samples": len(asked),
        "tokens": num_tokens,
        "megabytes": round(num_bytes / 1e6, 3),
        "receive_s": round(receive_s, 5),
        "place_s": round(place_s, 5),
        "samples_per_s": round(len(asked) / total, 1),
        "megabytes_per_s": round(num_bytes / 1e6 / total, 1),
        "iteration_s": round(iteration_s, 4),
        "receive_share_of_iteration": round(receive_s / iteration_s, 4),
        "place_share_of_iteration": round(place_s / iteration_s, 4),
    }
