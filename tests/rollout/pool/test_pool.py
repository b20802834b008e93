# SPDX-License-Identifier: Apache-2.0
"""A real pool: two processes over Ray, each with a JAX engine, which die while they sample."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
import pytest
import ray
from flax import nnx

from ntl_jax.models import Decoder
from ntl_jax.records import Prompt, Request, Sampling, Version, VersionSpan, Weights
from ntl_jax.rollout import JaxEngine, RayPool
from ntl_jax.rollout.engine import RolloutEngine, check_requests
from ntl_jax.rollout.pool.crew import Crew, Placement
from ntl_jax.rollout.pool.dispatcher import Dispatcher, Limits
from ntl_jax.rollout.pool.pool import _lost
from tests.engines import as_bytes, weights_of
from tests.rollout.pool.faulty_engine import POISON, FaultyEngine, small_engine

pytestmark = pytest.mark.slow

SAMPLING = Sampling(num_samples=4, max_tokens=40, stop_token_ids=(3, 5))
PROMPTS = [Prompt(i, np.arange(1 + i % 7, dtype=np.int32), "a text", "1", draw=100 + i) for i in range(12)]
PROCESS_S = 60.0
"""Longest time for a process to start, import and compile."""


def faulty(folder: pathlib.Path, *settings: Any) -> RolloutEngine:
    return FaultyEngine(small_engine(*settings), folder, POISON)


def refusing() -> RolloutEngine:
    raise ValueError("head_dim=16: this engine attends with heads of 32")


@pytest.fixture(scope="module")
def settings(decoder, table) -> tuple:
    """Of each engine, in either process: the same slots and prompts, so that it runs the same programs."""
    return decoder.config, jax.tree.map(np.asarray, table), 16, 4


@pytest.fixture(scope="module")
def faults(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def shared(decoder, settings, faults):
    pool = RayPool(
        functools.partial(faulty, faults, *settings),
        2,
        capacity=16,
        version_bytes=10**6,
        max_staleness=2,
        check=lambda requests: check_requests(requests, decoder.config, 16),
        limits=Limits(timeout_s=PROCESS_S, max_restarts=100),
    )
    with contextlib.closing(pool):
        yield pool


@pytest.fixture(scope="module")
def here(settings) -> JaxEngine:
    """The same engine in this process."""
    return small_engine(*settings)


@pytest.fixture
def pool(shared, decoder) -> RayPool:
    """The pool with both workers alive, the decoder's weights and nothing to do."""
    until(lambda: len(shared.workers) == 2)
    assert not shared.unfinished
    shared.publish(weights_of(decoder))
    return shared


@pytest.fixture(scope="module")
def expected(decoder, here) -> dict:
    """What the engine in this process samples."""
    here.publish(weights_of(decoder))
    return as_bytes(here.generate(PROMPTS, SAMPLING, seed=3))


def requests(prompts: Iterable[Prompt] = PROMPTS, sampling: Sampling = SAMPLING) -> list[Request]:
    return [Request(prompt, sampling, 3) for prompt in prompts]


def sampled(pool: RayPool) -> dict:
    """What a pool makes of all requests."""
    pool.submit(requests())
    return everything(pool)


def everything(pool: RayPool) -> dict:
    groups = list(pool.results())
    assert len({group[0].draw for group in groups}) == len(groups)
    assert all([t.sample_index for t in group] == list(range(SAMPLING.num_samples)) for group in groups)
    return as_bytes(t for group in groups for t in group)


def until(condition: Callable[[], Any], seconds: float = PROCESS_S) -> float:
    """Seconds until something is so."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - began


def test_a_pool_samples_the_bits_of_the_engine_in_this_process_in_any_number_of_requests(pool, expected):
    trajectories = pool.generate(PROMPTS, SAMPLING, seed=3)
    assert [(t.draw, t.sample_index) for t in trajectories] == [(p.draw, i) for p in PROMPTS for i in range(4)]
    assert as_bytes(trajectories) == expected
    assert all(t.versions == (VersionSpan(0, len(t.response_ids), Version(0)),) for t in trajectories)
    assert as_bytes(pool.generate(PROMPTS[5:6], SAMPLING, seed=3)).items() <= expected.items()


def test_both_workers_sample_and_their_use_is_reported(pool):
    pool.metrics()
    sampled(pool)
    metrics = pool.metrics()
    assert metrics["pool/workers"] == 2 and 0 < metrics["pool/worker_use"] <= 1
    assert metrics["pool/queue_depth"] == 0
    identities = pool.workers.values()
    assert len({identity.pid for identity in identities} | {os.getpid()}) == 3
    assert {identity.xla_flags for identity in identities} == {os.environ.get("XLA_FLAGS", "")}


def test_requests_in_flight_keep_the_version_that_they_were_submitted_under_and_nothing_is_lent(pool, here, decoder):
    other = Decoder(decoder.config, rngs=nnx.Rngs(1))
    taken = jax.tree.map(lambda x: x.copy(), weights_of(other).params)
    pool.submit(requests(PROMPTS[:6]))
    pool.publish(Weights(Version(7), taken))
    assert not pool.lent
    jax.tree.map(lambda x: x.delete(), taken)
    pool.submit(requests(PROMPTS[6:]))
    groups = list(pool.results())
    for version, weights, prompts in ((0, weights_of(decoder), PROMPTS[:6]), (7, weights_of(other, 7), PROMPTS[6:])):
        found = [t for group in groups if group[0].version == Version(version) for t in group]
        here.publish(weights)
        assert as_bytes(found) == as_bytes(here.generate(prompts, SAMPLING, seed=3))


def test_what_cannot_be_sampled_is_refused_before_it_is_queued(pool):
    bad = [Prompt(20, np.zeros(0, np.int32), "", "1"), Prompt(21, np.array([40], np.int32), "", "1")]
    with pytest.raises(ValueError, match=r"2 of 14 prompts cannot be sampled"):
        pool.submit(requests([*PROMPTS, *bad]))
    pool.submit(requests(PROMPTS[:2]))
    with pytest.raises(ValueError, match=r"2 requests are unfinished and need the published weights"):
        pool.retract()
    everything(pool)
    pool.retract()
    with pytest.raises(ValueError, match="no weights to sample from"):
        pool.submit(requests())


def test_a_worker_that_is_killed_amid_sampling_is_noticed_at_once_replaced_and_costs_no_sample(pool, expected):
    deaths = len(pool.deaths)
    pool.submit(requests())
    number, victim = next(iter(pool.workers.items()))
    os.kill(victim.pid, signal.SIGKILL)
    assert until(lambda: len(pool.deaths) > deaths) < 1
    assert everything(pool) == expected
    death = pool.deaths[-1]
    assert death.worker == number and "worker process has died" in death.cause


def test_damaged_weights_are_refused_and_the_worker_is_replaced(pool, expected, decoder):
    """Both workers pull the same object, whose bits have flipped; it is whole when they are replaced."""
    deaths = len(pool.deaths)
    pool.publish(weights_of(decoder, 9))
    whole = pool._stored[Version(9)]
    arrays = [array.copy() for array in ray.get(whole.buckets[0])]
    arrays[3].reshape(-1).view(np.uint8)[7] ^= 4
    pool._stored[Version(9)] = whole._replace(buckets=(ray.put(arrays), *whole.buckets[1:]))
    pool.submit(requests())
    until(lambda: len(pool.deaths) == deaths + 2)
    pool._stored[Version(9)] = whole
    assert everything(pool) == expected
    assert all("PulledWeightsError: 1 of" in death.cause for death in pool.deaths[deaths:])


def test_a_prompt_that_ends_its_workers_is_quarantined_and_no_other(pool, expected):
    deaths = len(pool.deaths)
    pool.submit(requests([*PROMPTS[:5], dataclasses.replace(PROMPTS[5], ids=np.array([POISON], np.int32))]))
    groups = {group[0].draw: group for group in pool.results()}
    lost = groups.pop(105)
    assert [(t.finish_reason, t.sample_index, len(t.response_ids), t.version) for t in lost] == [
        ("lost", i, 0, Version(0)) for i in range(4)
    ]
    assert len(pool.deaths) - deaths == 3
    assert all(death.log[-1] == "last words" for death in pool.deaths[deaths:])
    found = as_bytes(t for group in groups.values() for t in group)
    assert found == {key: value for key, value in expected.items() if key[0] < 105}
    assert pool.metrics()["pool/quarantined"] == 1


def test_workers_leave_and_are_added_while_they_sample(pool, expected):
    deaths = len(pool.deaths)
    pool.submit(requests())
    pool.resize(1)
    until(lambda: len(pool.workers) == 1)
    assert everything(pool) == expected
    pool.resize(2)
    pool.submit(requests())
    assert everything(pool) == expected
    until(lambda: len(pool.workers) == 2)
    assert len(pool.deaths) == deaths
    with pytest.raises(ValueError, match=r"no room for the pool's workers: they need 3 x 1 CPU, of which .* has 2"):
        pool.resize(3)
    with pytest.raises(ValueError, match="at least 1 worker"):
        pool.resize(0)


def test_an_engine_that_refuses_its_settings_says_so_at_once(pool):
    """In the same cluster, beside the pool."""

    def make_crew(answer):
        return Crew(refusing, Placement(cpus=0), answer)

    dispatcher = Dispatcher(make_crew, 2, capacity=4, stored=lambda version: None, limits=Limits())  # pyright: ignore
    with contextlib.closing(dispatcher), pytest.raises(ValueError, match="heads of 32"):
        dispatcher.wait_until_started()


@pytest.mark.parametrize("captures", [True, False])
def test_a_lost_group_has_all_that_was_to_be_captured(captures):
    sampling = Sampling(3, 4, capture_digits=captures, capture_entropy=captures, capture_alternatives=captures)
    group = _lost(Request(PROMPTS[2], sampling, 0), Version(5, "average"))
    assert [(t.draw, t.sample_index, t.version) for t in group] == [(102, i, Version(5, "average")) for i in range(3)]
    for name, shape in {"digit_log_probs": 10, "alternative_ids": 5, "alternative_log_probs": 5}.items():
        assert all((getattr(t, name).shape == (0, shape)) if captures else getattr(t, name) is None for t in group)
    assert all((t.entropy is not None) == captures for t in group)


def test_when_a_pool_is_closed_its_processes_are_gone(shared):
    """The last test of the pool, which it ends."""
    pids = [identity.pid for identity in shared.workers.values()]
    shared.close()
    until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids), 5)
    assert not ray.is_initialized()
