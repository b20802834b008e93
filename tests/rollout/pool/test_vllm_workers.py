# SPDX-License-Identifier: Apache-2.0
"""A real pool of two processes over Ray, each with a vLLM engine, one of which is killed."""

import contextlib
import functools
import importlib.util
import os
import pathlib
import signal
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.config import PoolSection, RolloutSection, VllmSection
from ntl_jax.models import Decoder, ModelConfig
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Prompt, Request, Sampling, Trajectory, Version, VersionSpan
from ntl_jax.rollout import RayPool, VllmEngine
from ntl_jax.rollout.pool.crew import Placement
from ntl_jax.rollout.pool.dispatcher import Limits
from ntl_jax.train.engines import _environment
from tests.engines import weights_of

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed: make test-vllm"),
    pytest.mark.filterwarnings("ignore"),  # vLLM's own and those of what it imports
    pytest.mark.timeout(900),  # three processes import vLLM
]

SETTINGS = VllmSection(kv_cache_memory_bytes=2**26, enforce_eager=True)
SECTION = RolloutSection(engine="pool", pool=PoolSection(engine="vllm"), vllm=SETTINGS)
TABLE = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=64)
SAMPLING = Sampling(num_samples=4, max_tokens=16, stop_token_ids=(40, 41))
PROMPTS = [Prompt(i, np.arange(1, 5 + i % 3, dtype=np.int32), "", "1", draw=30 + i) for i in range(12)]
START_S = 300.0
"""Longest time for a worker to start."""


def vllm_engine(model: ModelConfig, table: NumberTable) -> VllmEngine:
    return VllmEngine(model, table, max_prompt_tokens=8, max_tokens=16, settings=SETTINGS)


def make_policy(seed: int) -> Decoder:
    sizes: dict[str, Any] = {"num_layers": 2, "width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32}
    decoder = Decoder(ModelConfig(64, feed_forward=64, tie_embeddings=True, **sizes), rngs=nnx.Rngs(seed))
    decoder.embedding[...] = decoder.embedding[...] * 4.0
    return decoder


@pytest.fixture(scope="module")
def parts() -> tuple:
    return make_policy(0).config, jax.tree.map(np.asarray, TABLE)


@pytest.fixture(scope="module")
def expected(parts) -> dict[int, list[Trajectory]]:
    """What an engine in this process samples, by version."""
    with contextlib.closing(vllm_engine(*parts)) as engine:
        samples = {}
        for version in (0, 3):
            engine.publish(weights_of(make_policy(version), version))
            samples[version] = engine.generate(PROMPTS, SAMPLING, seed=1)
    return samples


@pytest.fixture(scope="module")
def pool(parts, expected):
    """After the engine in this process has ended."""
    pool = RayPool(
        functools.partial(vllm_engine, *parts),
        2,
        capacity=8,
        version_bytes=10**6,
        placement=Placement(1, environment=_environment(SECTION)),
        limits=Limits(timeout_s=START_S),
    )
    with contextlib.closing(pool):
        yield pool


def agree(found: Sequence[Trajectory], expected: Sequence[Trajectory]) -> bool:
    """Whether all samples are the same but for rare draws on the boundary between two tokens."""
    assert [(t.draw, t.sample_index) for t in found] == [(t.draw, t.sample_index) for t in expected]
    same = [(a, b) for a, b in zip(found, expected, strict=True) if a.response_ids.tolist() == b.response_ids.tolist()]
    for a, b in same:
        np.testing.assert_allclose(a.rollout_log_probs, b.rollout_log_probs, atol=1e-4)
        assert a.digit_log_probs is not None and b.digit_log_probs is not None
        np.testing.assert_allclose(a.digit_log_probs, b.digit_log_probs, atol=1e-3)
    return len(same) >= 0.95 * len(found)


def test_two_workers_sample_what_an_engine_in_this_process_does_and_say_which_version(pool, expected):
    for version in (0, 3):
        pool.publish(weights_of(make_policy(version), version))
        found = pool.generate(PROMPTS, SAMPLING, seed=1)
        assert agree(found, expected[version])
        assert all(t.versions == (VersionSpan(0, len(t.response_ids), Version(version)),) for t in found)
    assert not agree(expected[0], expected[3]) and pool.metrics()["pool/worker_use"] > 0


def test_a_worker_has_the_threads_of_its_cpus_and_none_is_bound_to_a_core(pool):
    """Bound ones would be on the same core in both workers."""
    for identity in pool.workers.values():
        environment = pathlib.Path(f"/proc/{identity.pid}/environ").read_bytes().split(b"\0")
        assert b"OMP_NUM_THREADS=1" in environment and b"JAX_PLATFORMS=cpu" in environment
        threads = [int(path.name) for path in pathlib.Path(f"/proc/{identity.pid}/task").iterdir()]
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset(os.sched_getaffinity(0))}


def test_a_killed_worker_costs_no_sample_and_is_replaced_by_one_with_the_same_weights(pool, expected):
    pool.publish(weights_of(make_policy(3), 3))
    pool.submit([Request(prompt, SAMPLING, 1) for prompt in PROMPTS])
    victim = next(iter(pool.workers.values()))
    killed = time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)
    while not pool.deaths:
        time.sleep(0.01)
    assert time.monotonic() - killed < 1
    groups = {group[0].draw: group for group in pool.results()}
    assert agree([t for prompt in PROMPTS for t in groups[prompt.draw]], expected[3])
    while len(pool.workers) < 2:
        assert time.monotonic() - killed < START_S
        time.sleep(0.1)
    assert victim.pid not in [identity.pid for identity in pool.workers.values()]
    assert agree(pool.generate(PROMPTS, SAMPLING, seed=1), expected[3])
    assert len(pool.deaths) == 1
