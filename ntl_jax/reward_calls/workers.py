# SPDX-License-Identifier: Apache-2.0
"""The thread that deals the calls of a reward function to workers, and replaces those that hang or end."""

import collections
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from multiprocessing import Pipe
from multiprocessing.connection import wait

from ntl_jax.reward_calls.outcome import RewardOutcome
from ntl_jax.reward_calls.service import Loaded, Numbered, Outcome, timed_out
from ntl_jax.reward_calls.worker import Worker

LOGGER = logging.getLogger("ntl_jax.reward")
GRACE_S = 0.5
"""A worker cancels coroutines at the time limit itself; it is ended only if it stays silent this much longer."""
SLOW_S = 0.25
"""Further workers start when a call has taken this long while others wait."""
LOOK_S = 1.0
"""How often to look whether processes with calls have ended: their children may hold the connection open."""
AT_ONCE = 4
"""Calls that a worker has at once, unless they run together in an event loop."""
GIVEN_UP, OF_LAST = 5, 100
"""The run ends when `GIVEN_UP` of the last `OF_LAST` calls ended their worker."""


class RewardError(RuntimeError):
    """The reward function gives no scores to learn from, and the run ends."""


class RewardWorkers:
    """Makes calls, several at once; every call gets an outcome.

    Args:
        name: of the function, for messages.
        loaded: what is known about it. If its calls run together in an event loop, a worker gets all that wait.
        first: a worker.
        start: starts another one.
        limit: most workers.
        timeout_s: a worker that gives no answer for longer is ended.
    """

    def __init__(
        self, name: str, loaded: Loaded, first: Worker, start: Callable[[], Worker], *, limit: int, timeout_s: float
    ):
        self._name, self._loaded, self._workers, self._start = name, loaded, [first], start
        self._limit, self._at_once = limit, sys.maxsize if loaded.together else AT_ONCE
        self._timeout_s = timeout_s
        self._waiting: collections.deque[Numbered] = collections.deque()
        self._outcomes: dict[int, Future[Outcome]] = {}
        self._ended: collections.deque[bool] = collections.deque(maxlen=OF_LAST)
        """Whether each of the last calls ended its worker."""
        self._suspects: set[int] = set()
        """Calls of which one blocked an event loop."""
        self._numbers, self._closed = itertools.count(), False
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._woken, self._wake = Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name="reward workers", daemon=True)
        self._thread.start()

    def submit(self, calls: Sequence[Mapping[str, object]]) -> list[Future[Outcome]]:
        """Has calls made; their outcomes come in any order.

        Raises:
            RewardError: once the function is given up; outcomes that have not come raise it too.
        """
        outcomes = [Future[Outcome]() for _ in calls]
        numbers = list(itertools.islice(self._numbers, len(calls)))
        with self._lock:
            if self._error is not None:
                raise self._error
            self._outcomes |= dict(zip(numbers, outcomes, strict=True))
            self._waiting.extend(zip(numbers, calls, strict=True))
        self._wake.send(None)
        return outcomes

    def close(self) -> None:
        """Ends all workers."""
        self._closed = True
        self._wake.send(None)
        self._thread.join()
        self._woken.close()
        self._wake.close()

    def _run(self) -> None:
        try:
            while not self._closed:
                self._deal()
                self._listen()
                for worker in [w for w in self._workers if w.calls]:
                    if worker.has_ended and not worker.connection.poll():
                        self._replace(worker, None)
                    elif self._deadline(worker) <= time.monotonic():
                        self._replace(worker, timed_out(self._timeout_s))
            raise RewardError(f"reward.function={self._name!r} is closed")
        except BaseException as error:  # else whoever waits for an outcome would wait forever
            with self._lock:
                self._error = error
            for outcome in self._outcomes.values():
                outcome.set_exception(error)
        for worker in self._workers:
            worker.end()

    def _deadline(self, worker: Worker) -> float:
        return worker.heard + self._timeout_s + GRACE_S

    def _room(self, worker: Worker) -> int:
        """How many of the first waiting calls a worker may get; a suspect is made alone."""
        if self._suspects & worker.calls.keys() or (self._waiting[0][0] in self._suspects and worker.calls):
            return 0
        return 1 if self._waiting[0][0] in self._suspects else self._at_once - len(worker.calls)

    def _deal(self) -> None:
        """Gives waiting calls to workers; starts another one where none has room and a call takes long."""
        while self._waiting:
            worker = max(self._workers, key=self._room, default=None)
            if worker is None or self._room(worker) <= 0:
                slow = any(w.heard + SLOW_S <= time.monotonic() for w in self._workers)
                if self._workers and not (slow and len(self._workers) < self._limit):
                    return
                worker = self._start()
                self._workers.append(worker)
            worker.send([self._waiting.popleft() for _ in range(min(self._room(worker), len(self._waiting)))])

    def _listen(self) -> None:
        """Waits for something to happen, and takes what has come."""
        now = time.monotonic()
        times = [min(self._deadline(worker), now + LOOK_S) for worker in self._workers if worker.calls]
        if self._waiting and len(self._workers) < self._limit:
            times += [worker.heard + SLOW_S for worker in self._workers]
        sources = [self._woken, *(worker.connection for worker in self._workers)]
        printed = [worker.output for worker in self._workers if worker.output is not None]
        ready = wait([*sources, *printed], max(0.0, min(times) - now) if times else None)
        if self._woken in ready:
            self._woken.recv()
        for worker in list(self._workers):
            if worker.output in ready:
                worker.show()
            if worker.connection in ready:
                self._hear(worker)

    def _hear(self, worker: Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker, None)
            return
        if isinstance(message, ValueError):
            raise RewardError(str(message))
        if isinstance(message, Loaded):
            if message != self._loaded:
                raise RewardError(f"reward.function={self._name!r}: its file has changed during the run")
            worker.heard = time.monotonic()
            return
        number, outcome = message
        del worker.calls[number]
        worker.heard = time.monotonic()
        self._ended.append(False)
        self._suspects.discard(number)
        self._outcomes.pop(number).set_result(outcome)

    def _replace(self, worker: Worker, outcome: RewardOutcome | None) -> None:
        """Ends a worker. The call that it was making fails, and others are made by another worker.

        Which of several coroutines blocks their event loop is not known: they are all made again, each alone.
        """
        self._workers.remove(worker)
        how, calls = worker.end(), list(worker.calls.items())
        if not calls:
            return
        outcome = outcome or RewardOutcome.failed(f"the call ended its process: {how}")
        if self._loaded.together and len(calls) > 1:
            self._suspects |= {number for number, _ in calls}
            failed, again = [], calls
        else:
            failed, again = calls[:1], calls[1:]
        self._waiting.extendleft(reversed(again))
        if not any(self._ended):
            then = "calls that ran together are made again, each alone"
            if failed:
                then = f"its {'group' if self._loaded.in_groups else 'sample'} has no reward"
            LOGGER.warning("reward.function=%r: %s; %s", self._name, outcome.error, then)
        self._ended.append(True)
        for number, _ in failed:
            self._suspects.discard(number)
            self._outcomes.pop(number).set_result(outcome)
        if sum(self._ended) >= GIVEN_UP:
            raise RewardError(
                f"reward.function={self._name!r}: {GIVEN_UP} of its last {len(self._ended)} calls ended their worker, "
                f"the last with: {outcome.error}. Raise reward.timeout_s if the function needs longer"
            )
