# SPDX-License-Identifier: Apache-2.0
"""What one worker does between two calls, with an engine that needs no device; Ray's store is not there."""

import os
import time

import jax.numpy as jnp
import pytest
import ray

from ntl_jax.records import Prompt, Version, Weights
from ntl_jax.rollout.flat_trajectories import unflatten
from ntl_jax.rollout.pool.versions import PulledWeightsError, store
from ntl_jax.rollout.pool.worker import Identity, Worker, this_host
from tests.engines import FakeEngine
from tests.rollout.pool.object_store import ObjectStore
from tests.rollout.pool.requests import ask, respond

PARAMS = {"weight": jnp.arange(4.0)}


@pytest.fixture
def objects(monkeypatch) -> ObjectStore:
    objects = ObjectStore()
    monkeypatch.setattr(ray, "get", objects.get)
    return objects


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(respond)


@pytest.fixture
def worker(engine) -> Worker:
    worker = Worker(lambda: engine)
    worker.begin()
    return worker


def stored_at(objects: ObjectStore, iteration: int):
    return store(Weights(Version(iteration), PARAMS), "float32", objects.put)


def test_a_worker_introduces_itself_once_it_has_its_engine():
    made = []
    worker = Worker(lambda: made.append(1) or FakeEngine(respond))
    assert not made
    identity = worker.begin()
    assert made == [1] and (identity.host, identity.pid) == (this_host(), os.getpid())
    assert identity.cores == len(os.sched_getaffinity(0)) and identity == Identity.of_this_process()


def test_requests_are_sampled_from_their_version_and_come_back_under_their_numbers(worker, engine, objects):
    requests = [ask(i, draw=50 + i) for i in range(3)]
    report = worker.advance(list(zip((7, 9, 8), requests, strict=True)), stored_at(objects, 4), 10.0)
    finished = [*report.finished]
    while len(finished) < 3:
        finished += worker.advance([], None, 10.0).finished
    assert engine.published == [Version(4)]
    by_number = dict(finished)
    for number, request in zip((7, 9, 8), requests, strict=True):
        for index, t in enumerate(unflatten(by_number[number], [request.prompt] * 2)):
            expected = respond(request, index)
            assert t.response_ids.tobytes() == expected.response_ids.tobytes()
            assert (t.sample_index, t.draw, t.version) == (index, request.prompt.draw, Version(4))


def test_a_call_returns_with_the_first_that_is_done(worker, objects):
    report = worker.advance([(i, ask(i)) for i in range(3)], stored_at(objects, 0), 10.0)
    assert [number for number, _ in report.finished] == [0]
    assert report.busy_s >= 0 and report.pull_s > 0 and report.load_s > 0


def test_a_version_that_the_worker_has_is_not_pulled_again(worker, engine, objects):
    stored = stored_at(objects, 2)
    worker.advance([(0, ask(0))], stored, 10.0)
    report = worker.advance([(1, ask(1))], stored, 10.0)
    assert (report.pull_s, report.load_s) == (0.0, 0.0) and engine.published == [Version(2)]
    worker.advance([(2, ask(2))], stored_at(objects, 3), 10.0)
    assert engine.published == [Version(2), Version(3)]


def test_a_call_returns_when_its_time_is_up_though_nothing_is_done(objects):
    class Slow(FakeEngine):
        def _sample(self):
            time.sleep(0.02)
            return []

    worker = Worker(lambda: Slow(respond))
    worker.begin()
    began = time.monotonic()
    assert not worker.advance([(0, ask(0))], stored_at(objects, 0), 0.1).finished
    assert 0.1 <= time.monotonic() - began < 1.0


def test_weights_that_arrive_damaged_are_refused_and_the_engine_keeps_its_own(worker, engine, objects):
    worker.advance([(0, ask(0))], stored_at(objects, 0), 10.0)
    damaged = stored_at(objects, 1)
    objects.flip_bit(damaged.buckets[0], 5)
    with pytest.raises(PulledWeightsError):
        worker.advance([(1, ask(1))], damaged, 10.0)
    assert engine.published == [Version(0)] and engine.unfinished == 0
    worker.advance([(1, ask(1))], stored_at(objects, 1), 10.0)
    assert engine.published == [Version(0), Version(1)]


def test_the_draw_stays_though_the_number_takes_the_prompts_index(worker, engine, objects):
    worker.advance([(123, ask(5))], stored_at(objects, 0), 10.0)
    (request,) = engine.submitted
    assert (request.prompt.index, request.prompt.draw) == (123, Prompt(5, request.prompt.ids, "", "").draw)
