# SPDX-License-Identifier: Apache-2.0
"""Sampling with engines in other processes, on this machine or others, behind the contract of engines.

Weights are pulled: each version is put into Ray's object store once, and a worker fetches it with its first request for
it. Nothing waits for a worker that is dead, new or slow: requests go to whoever is free.
"""

import contextlib
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import ray

from ntl_jax.records import Request, Trajectory, Version, VersionSpan, Weights
from ntl_jax.rollout.engine import RolloutEngine, check_finished, check_published
from ntl_jax.rollout.flat_trajectories import unflatten
from ntl_jax.rollout.pool.cluster import StoreSize, check_placement, cluster
from ntl_jax.rollout.pool.crew import Crew, Death, Placement
from ntl_jax.rollout.pool.dispatcher import Dispatcher, Limits
from ntl_jax.rollout.pool.versions import StoredVersion, store
from ntl_jax.rollout.pool.worker import EngineFactory, Identity

ANYWHERE, PATIENT = Placement(), Limits()
"""Defaults."""


class RayPool(RolloutEngine):
    """Engines in Ray actors. Nothing is lent once ``publish`` returns: what workers read is a copy.

    Args:
        engine_factory: makes an engine in a worker's process; it is pickled.
        num_workers: number of workers.
        capacity: samples that a worker has at a time.
        version_bytes: size of a version of the weights in the object store.
        trajectory_bytes: size of the trajectories in it.
        max_staleness: versions beside the newest that unfinished requests may need.
        dtype: dtype of the weights in the store: "float32" or "bfloat16".
        check: raises a ValueError for requests that the engines cannot sample; ``submit`` calls it.
        placement: what Ray gives each worker.
        limits: when a worker is given up, and when the pool is.
        address: of a running Ray cluster, as ``ray.init`` takes it; None: a private one on this machine.
        gpus: this machine's GPUs that a private cluster hands out.

    Raises:
        ValueError: if the cluster or its object store has no room, no cluster answers, or an engine refuses its
            settings.
        WorkersLostError: from ``submit``, ``step`` and what calls them, if too few workers are left.

    Example: two workers with a JAX engine each
        >>> pool = RayPool(make_engine, 2, capacity=64, version_bytes=10**6)  # doctest: +SKIP
        >>> pool.publish(Weights(Version(0), params))  # doctest: +SKIP
        >>> pool.generate(prompts, Sampling(num_samples=8, max_tokens=32), seed=0)  # doctest: +SKIP
    """

    def __init__(
        self,
        engine_factory: EngineFactory,
        num_workers: int,
        *,
        capacity: int,
        version_bytes: int,
        trajectory_bytes: int = 0,
        max_staleness: int = 0,
        dtype: str = "float32",
        check: Callable[[Sequence[Request]], None] = lambda requests: None,
        placement: Placement = ANYWHERE,
        limits: Limits = PATIENT,
        address: str | None = None,
        gpus: Sequence[str] = (),
    ):
        super().__init__()
        self._dtype, self._check_requests, self._demand = dtype, check, placement.demand
        self._stored: dict[Version, StoredVersion] = {}
        self._current: Version | None = None
        self._num_quarantined, self._measured = 0, time.monotonic()
        size = StoreSize(max_staleness + 2, version_bytes, trajectory_bytes)
        with contextlib.ExitStack() as stack:
            stack.enter_context(cluster(address, size, math.ceil(num_workers * placement.cpus), gpus))
            check_placement(placement.demand, num_workers)
            self._dispatcher = Dispatcher(
                lambda answer: Crew(engine_factory, placement, answer),
                num_workers,
                capacity=capacity,
                stored=self._stored.__getitem__,
                limits=limits,
            )
            stack.callback(self._dispatcher.close)
            self._dispatcher.wait_until_started()
            self._resources = stack.pop_all()

    @property
    def workers(self) -> dict[int, Identity]:
        """The workers that have started, by number."""
        return self._dispatcher.identities

    @property
    def deaths(self) -> Sequence[Death]:
        """Workers that died so far."""
        return self._dispatcher.deaths

    def publish(self, weights: Weights) -> None:
        """Puts the weights into the object store, unless they are there.

        Whether they fit, each worker's engine finds when it loads them; a worker whose engine refuses them is replaced.
        """
        if weights.version not in self._stored:
            for version in self._stored.keys() - self._dispatcher.versions:
                del self._stored[version]
            self._stored[weights.version] = store(weights, self._dtype, ray.put)
        self._current = weights.version

    def retract(self) -> None:
        check_finished(self.unfinished)
        self._current = None

    @property
    def lent(self) -> bool:
        return False

    @property
    def unfinished(self) -> int:
        return self._dispatcher.unfinished + len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        check_published(self._current is not None)
        assert self._current is not None
        self._check_requests(requests)
        self._dispatcher.submit(requests, self._current)

    def _sample(self) -> list[list[Trajectory]]:
        """Waits until a group is finished, and returns all that are; a quarantined group has lost responses."""
        groups = []
        for ticket, samples in self._dispatcher.take():
            self._num_quarantined += samples is None
            prompts = [ticket.request.prompt] * ticket.num_samples
            groups.append(_lost(ticket.request, ticket.version) if samples is None else unflatten(samples, prompts))
        return groups

    def metrics(self) -> dict[str, float]:
        """How the workers were used: the ``pool/`` metrics."""
        reports, now = self._dispatcher.take_reports(), time.monotonic()
        seconds, self._measured = now - self._measured, now
        num_workers = len(self.workers)
        pulls = [report for report in reports if report.pull_s]
        return {
            "pool/workers": float(num_workers),
            "pool/restarts": float(self._dispatcher.num_restarts),
            "pool/quarantined": float(self._num_quarantined),
            "pool/queue_depth": float(self._dispatcher.num_waiting),
            "pool/worker_use": sum(report.busy_s for report in reports) / (max(1, num_workers) * seconds),
            "pool/pull_s": max((report.pull_s for report in pulls), default=0.0),
            "pool/load_s": max((report.load_s for report in pulls), default=0.0),
        }

    def resize(self, num_workers: int) -> None:
        """Changes the number of workers while they sample; those who leave finish what they have first.

        Args:
            num_workers: at least 1. A private cluster has CPUs for the number that it started with.

        Raises:
            ValueError: if there is no room for so many.
        """
        if num_workers < 1:
            raise ValueError(f"num_workers={num_workers}: a pool has at least 1 worker")
        check_placement(self._demand, num_workers)
        self._dispatcher.resize(num_workers)

    def close(self) -> None:
        self._current = None
        self._stored.clear()
        self._resources.close()


def _lost(request: Request, version: Version) -> list[Trajectory]:
    """The group of a request that cannot be sampled: responses without tokens, with all that was to be captured."""
    sampling, prompt = request.sampling, request.prompt
    ids, values = np.zeros(0, np.int32), np.zeros(0, np.float32)
    alternatives = sampling.capture_alternatives
    return [
        Trajectory(
            prompt_index=prompt.index,
            sample_index=index,
            prompt_ids=prompt.ids,
            response_ids=ids,
            rollout_log_probs=values,
            digit_log_probs=np.zeros((0, 10), np.float32) if sampling.capture_digits else None,
            finish_reason="lost",
            versions=(VersionSpan(0, 0, version),),
            entropy=values if sampling.capture_entropy else None,
            alternative_ids=np.zeros((0, 5), np.int32) if alternatives else None,
            alternative_log_probs=np.zeros((0, 5), np.float32) if alternatives else None,
            draw=prompt.draw,
        )
        for index in range(sampling.num_samples)
    ]
