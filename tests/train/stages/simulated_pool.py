# SPDX-License-Identifier: Apache-2.0
"""A pool whose workers are simulated in virtual time: only who gets what is decided by the real code."""

import dataclasses
import heapq
from collections.abc import Sequence

import numpy as np

from ntl_jax.records import Request, Trajectory, Version, VersionSpan, Weights
from ntl_jax.rollout import RolloutEngine
from ntl_jax.rollout.engine import check_finished, check_published
from ntl_jax.rollout.pool.dealer import Dealer, Ticket
from tests.rollout.pool.requests import respond
from tests.samples import lose


@dataclasses.dataclass(frozen=True)
class Chance:
    """What a simulation draws from.

    Args:
        workers, capacity: as in a pool.
        speed: ratio of the fastest worker's speed to the slowest's.
        deaths: expected number of deaths of a worker per request.
        poisoned: share of the draws that kill whoever samples them.
        resizes: expected number of workers that leave, and of others that join, per request.
    """

    workers: int
    capacity: int
    speed: float
    deaths: float
    poisoned: float
    resizes: float


class SimulatedPool(RolloutEngine):
    """Samples what `respond` returns. A death is noticed some time after it, and what a worker did since is lost.

    Chance spares workers that have a request which died with two workers before: a third death would convict it.
    """

    def __init__(self, chance: Chance, seed: int):
        super().__init__()
        self._chance, self._rng, self._seed = chance, np.random.default_rng(seed), seed
        self._dealer, self._version = Dealer(chance.capacity), None
        self._now, self._events, self._count = 0.0, list[tuple[float, int, str, int, int]](), 0
        self._speeds: dict[int, float] = {}
        """Of the workers that live, or are not known to be dead."""
        self._dead: set[int] = set()
        self.finished: list[int] = []
        """Numbers of all requests that were finished or quarantined."""
        self.num_submitted = self.num_deaths = 0
        for _ in range(chance.workers):
            self._hire()

    def is_poisoned(self, draw: int) -> bool:
        """Whether sampling this draw kills."""
        return bool(np.random.default_rng([self._seed, draw]).random() < self._chance.poisoned)

    def pass_time(self, seconds: float) -> None:
        """Lets the workers go on while the trainer does something else."""
        end = self._now + seconds
        while self._events and self._events[0][0] <= end:
            self._finished.extend(self._next())
        self._now = end

    def publish(self, weights: Weights) -> None:
        self._version = weights.version

    def retract(self) -> None:
        check_finished(self.unfinished)
        self._version = None

    @property
    def lent(self) -> bool:
        return False

    @property
    def unfinished(self) -> int:
        return self._dealer.unfinished + len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        check_published(self._version is not None)
        assert self._version is not None
        self._dealer.submit(requests, self._version)
        self.num_submitted += len(requests)
        self._deal()

    def _sample(self) -> list[list[Trajectory]]:
        while not (groups := self._next()):
            pass
        return groups

    def metrics(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        pass

    def _at(self, delay: float, what: str, worker: int, number: int = -1) -> None:
        self._count += 1
        heapq.heappush(self._events, (self._now + delay, self._count, what, worker, number))

    def _hire(self) -> None:
        self._count += 1
        self._at(self._rng.exponential(3.0), "join", self._count)

    def _next(self) -> list[list[Trajectory]]:
        """What the next event finishes."""
        self._now, _, what, worker, number = heapq.heappop(self._events)
        groups = getattr(self, f"_{what}")(worker, number)
        self._deal()
        return groups

    def _join(self, worker: int, _: int) -> list[list[Trajectory]]:
        self._speeds[worker] = self._chance.speed ** self._rng.random()
        self._dealer.join(worker)
        return []

    def _done(self, worker: int, number: int) -> list[list[Trajectory]]:
        """A worker has sampled a request, unless it died before."""
        if worker in self._dead or worker not in self._speeds:
            return []
        return [self._group(self._dealer.finish(worker, number), lost=False)]

    def _die(self, worker: int, number: int) -> list[list[Trajectory]]:
        """A worker dies of a request (or by chance: -1), which is noticed later."""
        if worker in self._dead or worker not in self._speeds:
            return []
        by_chance = number < 0
        if not (by_chance and any(t.is_suspect for t in self._dealer._dealt[worker].values())):
            self._dead.add(worker)
            self.num_deaths += 1
            self._at(self._rng.exponential(1.0), "notice", worker)
        return []

    def _notice(self, worker: int, _: int) -> list[list[Trajectory]]:
        self._dead.discard(worker)
        del self._speeds[worker]
        was_leaving = self._dealer.is_leaving(worker)
        quarantined = self._dealer.bury(worker)
        if not was_leaving:
            self._hire()
        return [self._group(ticket, lost=True) for ticket in quarantined]

    def _leave(self, worker: int, _: int) -> list[list[Trajectory]]:
        if worker in self._speeds and not self._dealer.is_leaving(worker):
            self._dealer.leave(worker)
            self._hire()
        return []

    def _deal(self) -> None:
        alive = [worker for worker in self._speeds if worker not in self._dead]
        for worker, tickets in self._dealer.deal(alive).items():
            assert isinstance(worker, int)
            for ticket in tickets:
                self._begin(worker, ticket)
        for worker in alive:
            if self._dealer.is_leaving(worker) and not self._dealer.held_by(worker):
                self._dealer.release(worker)
                del self._speeds[worker]

    def _begin(self, worker: int, ticket: Ticket) -> None:
        seconds = self._rng.lognormal(0.0, 1.0) / self._speeds[worker]
        kills = self.is_poisoned(ticket.request.prompt.draw)
        self._at(seconds * self._rng.random() if kills else seconds, "die" if kills else "done", worker, ticket.number)
        for what, rate in (("die", self._chance.deaths), ("leave", self._chance.resizes)):
            if self._rng.random() < rate:
                self._at(seconds * self._rng.random() * 2, what, worker)

    def _group(self, ticket: Ticket, *, lost: bool) -> list[Trajectory]:
        self.finished.append(ticket.number)
        prompt, samples = ticket.request.prompt, range(ticket.num_samples)
        group = [lose(prompt, i) if lost else respond(ticket.request, i) for i in samples]
        return [with_version(t, ticket.version) for t in group]


def with_version(trajectory: Trajectory, version: Version) -> Trajectory:
    """The trajectory, written by this version."""
    return dataclasses.replace(trajectory, versions=(VersionSpan(0, len(trajectory.response_ids), version),))
