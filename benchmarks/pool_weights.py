# SPDX-License-Identifier: Apache-2.0
"""Part of `benchmarks.pool`: what a new version of the weights costs, from ``publish`` to a token sampled from it."""

import functools
import pathlib
import threading
import time
from contextlib import closing
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.shapes import QWEN2_5_0_5B, SMOLLM2_135M
from ntl_jax.models import Decoder, ModelConfig, make_mesh
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Params, Prompt, Request, Sampling, Version, Weights
from ntl_jax.rollout import JaxEngine, RayPool

TINY = ModelConfig(vocab_size=1024, num_layers=2, width=128, num_heads=4, num_kv_heads=2, head_dim=32, feed_forward=384)
SHAPES = {"SmolLM2-135M": SMOLLM2_135M, "Qwen2.5-0.5B": QWEN2_5_0_5B}
STALENESS = 1
FIRST = STALENESS + 2
"""So many versions find untouched memory in the store; later ones take the place of older ones."""
LATER = 7
BESIDE = 3
"""Versions that are published while the worker samples."""
PROMPT = Prompt(0, np.arange(8, dtype=np.int32), "", "0")
ONE, MANY = Sampling(1, 1), Sampling(1, 256)
COPIED_BYTES = 2**30
KIB, GB = 2**10, 1e9


def make_engine(config: ModelConfig) -> JaxEngine:
    """A worker's engine."""
    table = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=config.vocab_size)
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    return JaxEngine(config, table, mesh=mesh, slots=1, max_prompt_tokens=len(PROMPT.ids), num_prompts=1)


def make_params(config: ModelConfig) -> Params:
    return nnx.jit(lambda: nnx.state(Decoder(config, rngs=nnx.Rngs(0)), nnx.Param))()


def copy_rate(num_bytes: int = COPIED_BYTES) -> float:
    """Bytes per second that one core copies between memory that is in use."""
    source, target = np.ones(num_bytes, np.uint8), np.zeros(num_bytes, np.uint8)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return num_bytes / float(np.median(times))


def memory(pid: int | str, name: str) -> int:
    """Bytes of a process: RssAnon or RssShmem, or Pss, where shared pages count by shares."""
    file = "smaps_rollup" if name == "Pss" else "status"
    lines = pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.split(":")[0] == name)


class PeakMemory:
    """The most memory of processes while the context was open, in gigabytes."""

    def __init__(self, **pids: int | str):
        self._pids = pids
        self.most: dict[str, float] = {}

    def __enter__(self):
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            for side, pid in self._pids.items():
                for name in ("RssAnon", "RssShmem"):
                    key = f"{side} {name}"
                    self.most[key] = max(self.most.get(key, 0.0), round(memory(pid, name) / GB, 3))

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


class Publisher:
    """Publishes the same arrays as version after version, and samples a token from each.

    Args:
        pool: of one worker.
        params: the arrays.
    """

    def __init__(self, pool: RayPool, params: Params):
        self._pool, self._params, self._count = pool, params, 0

    def publish(self) -> float:
        """Seconds for which the trainer waits."""
        start = time.perf_counter()
        self._pool.publish(Weights(Version(self._count), self._params))
        self._count += 1
        return time.perf_counter() - start

    def token(self) -> float:
        """Seconds until a token is there."""
        start = time.perf_counter()
        trajectory = self._pool.generate([PROMPT], ONE, seed=0)[0]
        assert trajectory.version == Version(self._count - 1)
        return time.perf_counter() - start

    def timed(self) -> dict[str, float]:
        """One version."""
        self._pool.metrics()
        store_s = self.publish()
        token_s = self.token()
        metrics = self._pool.metrics()
        return {
            "first_token_s": store_s + token_s,
            "store_s": store_s,
            "pull_s": metrics["pool/pull_s"],
            "load_s": metrics["pool/load_s"],
        }

    def beside_sampling(self) -> float:
        """Seconds for which the trainer waits while the worker samples."""
        self._pool.submit([Request(PROMPT, MANY, seed=0)])
        time.sleep(0.2)  # until it has begun
        seconds = self.publish()
        assert self._pool.unfinished, "it samples until the version is stored"
        assert sum(len(group) for group in self._pool.results()) == 1
        self.token()
        return seconds


def medians(rows: list[dict[str, float]], num_bytes: int) -> dict[str, float]:
    """Of several versions, and the rate of storing, pulling and verifying."""
    result = {name: round(float(np.median([row[name] for row in rows])), 3) for name in rows[0]}
    return result | {"gigabytes_per_s": round(num_bytes / GB / (result["store_s"] + result["pull_s"]), 2)}


def measure_shape(config: ModelConfig, later: int) -> dict[str, Any]:
    params = make_params(config)
    num_bytes = sum(x.nbytes for x in jax.tree.leaves(params))
    factory = functools.partial(make_engine, config)
    with closing(RayPool(factory, 1, capacity=1, version_bytes=num_bytes, max_staleness=STALENESS)) as pool:
        publisher = Publisher(pool, params)
        rows = [publisher.timed() for _ in range(FIRST + later)]
        bare = copy_rate()
        idle = [publisher.beside_sampling() for _ in range(1 + BESIDE)][1:]  # the first one compiles
        worker = next(iter(pool.workers.values())).pid
        with PeakMemory(trainer="self", worker=worker) as peak:
            publisher.publish()
            publisher.token()
        held = {
            f"{side} Pss": round(memory(pid, "Pss") / GB, 3) for side, pid in (("trainer", "self"), ("worker", worker))
        }
    after = medians(rows[FIRST:], num_bytes)
    return {
        "gigabytes": round(num_bytes / GB, 3),
        "copy_gigabytes_per_s": round(bare / GB, 2),
        "first": medians(rows[1:FIRST], num_bytes),
        "later": after,
        "later_share_of_copy": round(after["gigabytes_per_s"] / (bare / GB), 3),
        "store_beside_sampling_s": round(float(np.median(idle)), 3),
        "peak_gigabytes": peak.most | held,
    }


def measure(quick: bool) -> dict[str, Any]:
    """By shape."""
    shapes = {"tiny": TINY} if quick else SHAPES
    return {name: measure_shape(config, 2 if quick else LATER) for name, config in shapes.items()}
