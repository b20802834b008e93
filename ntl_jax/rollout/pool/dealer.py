# SPDX-License-Identifier: Apache-2.0
"""Deals requests to workers. Decides only; it knows neither Ray nor time.

A request goes to one worker at a time, and to another one if that worker dies. The order of submission is kept, except
that requests of dead workers come first.
"""

import dataclasses
from collections.abc import Hashable, Iterable, Sequence

from ntl_jax.records import Request, Sampling, Version

SUSPECT_DEATHS = 2
"""After so many deaths of its workers, a request is sampled alone, so that it is clear whether it kills workers."""


@dataclasses.dataclass(eq=False)
class Ticket:
    """A request on its way through the pool.

    Args:
        number: unique in the pool, in order of submission.
        request: what to sample.
        version: the weights to sample from.
        deaths: number of workers that died while they had it.
    """

    number: int
    request: Request
    version: Version
    deaths: int = 0

    @property
    def is_suspect(self) -> bool:
        return self.deaths >= SUSPECT_DEATHS

    @property
    def kind(self) -> tuple[Sampling, Version]:
        """What requests that decode together have in common."""
        return self.request.sampling, self.version

    @property
    def num_samples(self) -> int:
        return self.request.sampling.num_samples


class Dealer:
    """Which worker has which requests, and what is still to be dealt.

    A worker gets requests of one Sampling and one version at a time, until it has ``capacity`` samples. Next is always
    the worker with the fewest samples, so that workers that are equally fast are done at the same time. A request that
    was on two dying workers is sampled alone on a worker; if that one dies too, the request is quarantined.

    Args:
        capacity: samples that a worker has at a time; one request may exceed it.

    Example:
        >>> import numpy as np
        >>> from ntl_jax.records import Prompt, Sampling
        >>> ask = lambda i: Request(Prompt(i, np.array([1]), "", ""), Sampling(num_samples=2, max_tokens=4), seed=0)
        >>> dealer = Dealer(capacity=4)
        >>> dealer.join("a"), dealer.join("b"), dealer.submit([ask(i) for i in range(5)], Version(0))
        (None, None, None)
        >>> {worker: [t.number for t in tickets] for worker, tickets in dealer.deal("ab").items()}
        {'a': [0, 2], 'b': [1, 3]}
        >>> dealer.finish("b", 1).number, dealer.bury("a")
        (1, [])
        >>> {worker: [t.number for t in tickets] for worker, tickets in dealer.deal("b").items()}
        {'b': [0]}
        >>> dealer.unfinished
        4
    """

    def __init__(self, capacity: int):
        self._capacity, self._count = capacity, 0
        self._waiting: list[Ticket] = []
        self._dealt: dict[Hashable, dict[int, Ticket]] = {}
        self._leaving: set[Hashable] = set()

    @property
    def unfinished(self) -> int:
        """Number of requests that are neither finished nor quarantined."""
        return len(self._waiting) + sum(map(len, self._dealt.values()))

    @property
    def num_waiting(self) -> int:
        """Number of requests that no worker has."""
        return len(self._waiting)

    @property
    def versions(self) -> set[Version]:
        """Versions that unfinished requests need."""
        return {ticket.version for ticket in self._tickets()}

    def submit(self, requests: Sequence[Request], version: Version) -> None:
        """Queues requests to be sampled from these weights."""
        for request in requests:
            self._waiting.append(Ticket(self._count, request, version))
            self._count += 1

    def join(self, worker: Hashable) -> None:
        """Adds a worker, which has nothing yet."""
        self._dealt[worker] = {}

    def leave(self, worker: Hashable) -> None:
        """Deals nothing more to a worker, which keeps what it has."""
        self._leaving.add(worker)

    def held_by(self, worker: Hashable) -> int:
        """Number of requests that a worker has."""
        return len(self._dealt[worker])

    def is_leaving(self, worker: Hashable) -> bool:
        """Whether nothing more is dealt to a worker."""
        return worker in self._leaving

    def deal(self, ready: Iterable[Hashable]) -> dict[Hashable, list[Ticket]]:
        """Deals what the given workers have room for; returns the new requests by worker."""
        new: dict[Hashable, list[Ticket]] = {}
        workers = [worker for worker in ready if worker not in self._leaving]
        while (worker := self._next_worker(workers)) is not None:
            ticket = self._waiting.pop(0)
            self._dealt[worker][ticket.number] = ticket
            new.setdefault(worker, []).append(ticket)
        return new

    def _next_worker(self, workers: Sequence[Hashable]) -> Hashable | None:
        """The worker that the first waiting request goes to; None: it waits."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        room = 0 if first.is_suspect else max(0, self._capacity - first.num_samples)
        samples = {worker: self._num_samples(worker) for worker in workers if self._takes(worker, first)}
        worker = min(samples, key=samples.__getitem__, default=None)
        return worker if worker is not None and samples[worker] <= room else None

    def _takes(self, worker: Hashable, ticket: Ticket) -> bool:
        return all(x.kind == ticket.kind and not x.is_suspect for x in self._dealt[worker].values())

    def _num_samples(self, worker: Hashable) -> int:
        return sum(ticket.num_samples for ticket in self._dealt[worker].values())

    def finish(self, worker: Hashable, number: int) -> Ticket:
        """Takes a finished request from a worker.

        Raises:
            KeyError: if the worker does not have the request.
        """
        return self._dealt[worker].pop(number)

    def bury(self, worker: Hashable) -> list[Ticket]:
        """Removes a dead worker. Its requests wait again, before all others; returns those that are quarantined."""
        held = self._remove(worker)
        for ticket in held:
            ticket.deaths += 1
        quarantined = held if len(held) == 1 and held[0].deaths > SUSPECT_DEATHS else []
        again = [ticket for ticket in held if ticket not in quarantined]
        self._waiting = sorted([*self._waiting, *again], key=lambda ticket: (-ticket.deaths, ticket.number))
        return quarantined

    def release(self, worker: Hashable) -> None:
        """Removes a worker that has nothing."""
        assert not self._remove(worker), "a worker leaves with nothing"

    def _remove(self, worker: Hashable) -> list[Ticket]:
        self._leaving.discard(worker)
        return list(self._dealt.pop(worker).values())

    def _tickets(self) -> Iterable[Ticket]:
        yield from self._waiting
        for held in self._dealt.values():
            yield from held.values()
