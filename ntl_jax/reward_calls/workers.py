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
from multiprocessing.connection import Connection, wait

from ntl_jax.reward_calls.outcome import RewardOutcome
from ntl_jax.reward_calls.service import Loaded, Numbered, timed_out
from ntl_jax.reward_calls.worker import Worker

LOGGER = logging.getLogger("ntl_jax.reward")
GRACE_S = 0.5
"""A worker keeps the time limit of coroutines itself; the watching thread waits this much longer before it ends it."""
SLOW_S = 0.25
"""Further workers start when a call has taken this long while others wait."""
AT_ONCE = 4
"""Calls that a worker has at once, unless they run together in an event loop."""
GIVEN_UP, OF_LAST = 5, 100
"""A function is given up once so many of its last calls ended their worker."""


class RewardError(RuntimeError):
    """The reward function gives no scores to learn from, and the run ends."""


class RewardWorkers:
    """Makes calls, several at once; every call gets an outcome.

    Args:
        name: of the function, for messages.
        loaded: what is known about it. If its calls run together in an event loop, one worker has them all.
        first: a worker.
        start: starts another one.
        limit: most workers.
        timeout_s: a worker that gives no answer for longer is ended.
    """

    def __init__(
        self, name: str, loaded: Loaded, first: Worker, start: Callable[[], Worker], *, limit: int, timeout_s: float
    ):
        self._name, self._loaded, self._workers, self._start = name, loaded, [first], start
        self._limit, self._at_once = (1, sys.maxsize) if loaded.together else (limit, AT_ONCE)
        self._timeout_s = timeout_s
        self._waiting: collections.deque[Numbered] = collections.deque()
        self._outcomes: dict[int, Future[RewardOutcome]] = {}
        self._ended: collections.deque[bool] = collections.deque(maxlen=OF_LAST)
        """Whether each of the last calls ended its worker."""
        self._numbers, self._closed = itertools.count(), False
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._woken, self._wake = Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name="reward workers", daemon=True)
        self._thread.start()

    def submit(self, calls: Sequence[Mapping[str, object]]) -> list[Future[RewardOutcome]]:
        """Has calls made; their outcomes come in any order.

        Raises:
            RewardError: once the function is given up; outcomes that have not come raise it too.
        """
        outcomes = [Future[RewardOutcome]() for _ in calls]
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

    def _run(self) -> None:
        try:
            while not self._closed:
                self._deal()
                self._listen()
                for worker in [w for w in self._workers if w.calls and self._deadline(w) <= time.monotonic()]:
                    self._replace(worker, timed_out(self._timeout_s))
        except BaseException as error:  # else whoever waits for an outcome would wait forever
            with self._lock:
                self._error = error
            for outcome in self._outcomes.values():
                outcome.set_exception(error)
        for worker in self._workers:
            worker.end()

    def _deadline(self, worker: Worker) -> float:
        return worker.heard + self._timeout_s + GRACE_S

    def _deal(self) -> None:
        """Gives waiting calls to workers; starts another one where none has room and a call takes long."""
        while self._waiting:
            worker = min(self._workers, key=lambda w: len(w.calls), default=None)
            if worker is None or len(worker.calls) >= self._at_once:
                slow = any(w.heard + SLOW_S <= time.monotonic() for w in self._workers)
                if self._workers and not (slow and len(self._workers) < self._limit):
                    return
                worker = self._start()
                self._workers.append(worker)
            room = min(self._at_once - len(worker.calls), len(self._waiting))
            worker.send([self._waiting.popleft() for _ in range(room)])

    def _listen(self) -> None:
        """Waits for something to happen, and takes what has come."""
        times = [self._deadline(worker) for worker in self._workers if worker.calls]
        if self._waiting and len(self._workers) < self._limit:
            times += [worker.heard + SLOW_S for worker in self._workers]
        said = {worker.connection: worker for worker in self._workers}
        printed = {worker.output: worker for worker in self._workers if worker.output is not None}
        timeout = max(0.0, min(times) - time.monotonic()) if times else None
        for source in wait([self._woken, *said, *printed], timeout):
            if isinstance(source, int):
                printed[source].show()
            elif isinstance(source, Connection) and source in said:
                self._hear(said[source])
            else:
                self._woken.recv()

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
        self._outcomes.pop(number).set_result(outcome)

    def _replace(self, worker: Worker, outcome: RewardOutcome | None) -> None:
        """Ends a worker; the call that it was making fails, the others are made by another one."""
        self._workers.remove(worker)
        how, calls = worker.end(), list(worker.calls.items())
        if not calls:
            return
        outcome = outcome or RewardOutcome.failed(f"the call ended its process: {how}")
        num_failed = len(calls) if self._loaded.together else 1
        self._waiting.extendleft(reversed(calls[num_failed:]))
        if not any(self._ended):
            LOGGER.warning(
                "reward.function=%r: %s; the sample has no reward, the run goes on", self._name, outcome.error
            )
        self._ended.append(True)
        for number, _ in calls[:num_failed]:
            self._outcomes.pop(number).set_result(outcome)
        if sum(self._ended) >= GIVEN_UP:
            raise RewardError(
                f"reward.function={self._name!r}: {GIVEN_UP} of its last {len(self._ended)} calls ended their worker, "
                f"the last with: {outcome.error}. Raise reward.timeout_s if the function needs longer"
            )
