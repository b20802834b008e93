# SPDX-License-Identifier: Apache-2.0
"""The thread that keeps workers busy: hands out requests, takes what is finished, replaces workers that die."""

import collections
import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from ntl_jax.records import Prompt, Request, Version
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.rollout.pool.crew import Answer, Crew, Death, user_error
from ntl_jax.rollout.pool.dealer import Dealer, Ticket
from ntl_jax.rollout.pool.versions import StoredVersion
from ntl_jax.rollout.pool.worker import Identity, Report

LOGGER = logging.getLogger("ntl_jax.pool")
"""Tells of workers that die; a run writes it to ``pool.log``."""
BEAT_S = 1.0
"""A worker answers when a request is done, or after this time and a step of its engine."""


class Limits(NamedTuple):
    """When a worker is given up, and when the pool is.

    Args:
        timeout_s: longest time without an answer; starting, loading weights and compiling included.
        max_restarts: workers that may be replaced, in all.
        min_workers: fewest workers to go on with.
    """

    timeout_s: float = 300.0
    max_restarts: int = 16
    min_workers: int = 1


class Dispatcher:
    """Runs the thread. All methods may be called from other threads.

    Args:
        make_crew: makes the crew, which answers through the given function.
        num_workers: number of workers.
        capacity: samples that a worker has at a time.
        stored: where a version of the weights lies.
        limits: when to give up.
    """

    def __init__(
        self,
        make_crew: Callable[[Answer], Crew],
        num_workers: int,
        *,
        capacity: int,
        stored: Callable[[Version], StoredVersion],
        limits: Limits,
    ):
        self._events: queue.SimpleQueue[tuple[int, Future] | None] = queue.SimpleQueue()
        self._crew = make_crew(lambda number, future: self._events.put((number, future)))
        self._dealer, self._stored, self._limits = Dealer(capacity), stored, limits
        self._changed = threading.Condition()
        self._finished: collections.deque[tuple[Ticket, FlatTrajectories | None]] = collections.deque()
        self._num_workers, self._num_restarts = num_workers, 0
        self._closing = False
        self.deaths: list[Death] = []
        self._reports: list[Report] = []
        with self._changed:
            self._hire()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ntl_jax pool")
        self._running = self._executor.submit(self._run)

    @property
    def unfinished(self) -> int:
        with self._changed:
            return self._dealer.unfinished + len(self._finished)

    @property
    def num_waiting(self) -> int:
        with self._changed:
            return self._dealer.num_waiting

    @property
    def num_restarts(self) -> int:
        return self._num_restarts

    @property
    def versions(self) -> set[Version]:
        """Versions that unfinished requests need."""
        with self._changed:
            return self._dealer.versions

    @property
    def identities(self) -> dict[int, Identity]:
        """The workers that have started."""
        with self._changed:
            return {n: m.identity for n, m in self._crew.members.items() if m.identity is not None}

    def wait_until_started(self) -> None:
        """Waits for all workers.

        Raises:
            ValueError: with which an engine refused its settings.
            WorkersLostError: if too few started.
        """
        with self._changed:
            while not self._running.done() and not all(m.identity for m in self._crew.members.values()):
                self._changed.wait(BEAT_S)
            self._check()

    def submit(self, requests: Sequence[Request], version: Version) -> None:
        """Queues requests to be sampled from a stored version."""
        with self._changed:
            self._check()
            self._dealer.submit(requests, version)
        self._events.put(None)

    def take(self) -> list[tuple[Ticket, FlatTrajectories | None]]:
        """Waits for finished requests and returns them with their samples: None for a quarantined request.

        Returns nothing if there are no unfinished requests.
        """
        with self._changed:
            while not self._finished and self._dealer.unfinished and not self._running.done():
                self._changed.wait(BEAT_S)
            if not self._finished:
                self._check()
            taken = list(self._finished)
            self._finished.clear()
            return taken

    def take_reports(self) -> list[Report]:
        """The workers' reports since the last call."""
        with self._changed:
            reports, self._reports = self._reports, []
            return reports

    def resize(self, num_workers: int) -> None:
        """Changes the number of workers; those who leave finish what they have."""
        with self._changed:
            self._check()
            self._num_workers = num_workers
            for number in self._staying[num_workers:]:
                self._dealer.leave(number)
            self._hire()
        self._events.put(None)

    def close(self) -> None:
        """Ends thread and workers."""
        self._closing = True
        self._events.put(None)
        self._executor.shutdown()
        self._crew.close()

    def _check(self) -> None:
        """Raises the error that ended the thread."""
        if self._running.done():
            self._running.result()
            raise RuntimeError("the pool is closed")

    @property
    def _staying(self) -> list[int]:
        """The workers that do not leave, the longest-serving first."""
        return [number for number in self._crew.members if not self._dealer.is_leaving(number)]

    def _hire(self) -> None:
        """Starts workers that are missing."""
        for _ in range(self._num_workers - len(self._staying)):
            self._crew.start()

    def _run(self) -> None:
        """Works until the pool is closed, the process ends, or an error, which is raised where results are awaited."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._notify)
            while not self._closing and threading.main_thread().is_alive():
                events = self._next_events()
                with self._changed:
                    for number, future in events:
                        if number in self._crew.members:  # else it was given up before
                            self._read(number, future)
                    self._give_up_silent()
                    self._dispatch()
                    self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _next_events(self) -> list[tuple[int, Future]]:
        """Waits for an event, but no longer than a beat, and takes all there are."""
        events = []
        try:
            events.append(self._events.get(timeout=BEAT_S))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            return [event for event in events if event is not None]

    def _read(self, number: int, future: Future) -> None:
        member = self._crew.members[number]
        if (error := future.exception()) is not None:
            self._bury(number, error)
            return
        member.calling, answer = False, future.result()
        if isinstance(answer, Identity):
            member.identity = answer
            self._dealer.join(number)
            return
        self._reports.append(answer)
        for request_number, samples in answer.finished:
            self._finished.append((self._dealer.finish(number, request_number), samples))

    def _give_up_silent(self) -> None:
        now = time.monotonic()
        for number, member in list(self._crew.members.items()):
            if member.calling and now - member.since > self._limits.timeout_s:
                self._bury(number, None)

    def _bury(self, number: int, error: BaseException | None) -> None:
        """Ends a dead worker, deals its requests again, and hires another one."""
        death, started = self._crew.death(number, error), self._crew.members[number].identity is not None
        self.deaths.append(death)
        LOGGER.warning("%s", death)
        self._crew.end(number)
        if not started and not self.identities and error is not None and (refusal := user_error(error)) is not None:
            raise refusal
        if started:
            self._finished.extend((ticket, None) for ticket in self._dealer.bury(number))
        left = len(self._staying)
        if left < self._num_workers and self._num_restarts < self._limits.max_restarts:
            self._num_restarts += 1
            self._hire()
        elif left < min(self._num_workers, self._limits.min_workers):
            raise WorkersLostError(
                f"{left} of {self._num_workers} workers are left, rollout.pool.min_workers="
                f"{self._limits.min_workers}, and all rollout.pool.max_restarts={self._limits.max_restarts} are used "
                "up. Deaths:\n  " + "\n  ".join(map(str, self.deaths))
            )

    def _dispatch(self) -> None:
        """Hands out requests to the workers that are not busy with a call, and lets them go on."""
        ready = [n for n, m in self._crew.members.items() if m.identity is not None and not m.calling]
        new = self._dealer.deal(ready)
        for number in ready:
            tickets = new.get(number, [])
            if tickets or self._dealer.held_by(number):
                requests = [(ticket.number, _without_text(ticket.request)) for ticket in tickets]
                stored = self._stored(tickets[0].version) if tickets else None
                self._crew.advance(number, requests, stored, BEAT_S)
            elif self._dealer.is_leaving(number):
                self._dealer.release(number)
                self._crew.end(number)


def _without_text(request: Request) -> Request:
    """What an engine reads of a request; a prompt's own data may be large, or refuse to be pickled."""
    prompt = request.prompt
    return dataclasses.replace(request, prompt=Prompt(prompt.index, prompt.ids, "", "", draw=prompt.draw))
