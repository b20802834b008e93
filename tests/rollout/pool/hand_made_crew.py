# SPDX-License-Identifier: Apache-2.0
"""A crew whose workers are objects of the test, for what decides over workers; it ends and reports as the real one."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from ntl_jax.records import Request, Version
from ntl_jax.rollout.flat_trajectories import flatten
from ntl_jax.rollout.pool.crew import Answer, Death, Member
from ntl_jax.rollout.pool.versions import StoredVersion
from ntl_jax.rollout.pool.worker import Finished, Identity, Report
from tests.rollout.pool.requests import respond

Advance = Callable[[Sequence[tuple[int, Request]], StoredVersion | None], Any]
"""Takes the arguments of a call; returns the answer, raises, or returns SILENT."""
SILENT = object()
HERE = Identity.of_this_process()


def sampled(held: Sequence[tuple[int, Request]]) -> Report:
    """The report of a worker that has sampled all of these."""
    return Report(
        [Finished(number, flatten([respond(request, i) for i in range(request.sampling.num_samples)]))
         for number, request in held], 0.1, 0.0, 0.0,
    )  # fmt: skip


class HandMadeCrew:
    """Answers from the thread that calls.

    Args:
        answer: as the real crew's.
        begin: what a worker's start gives, by its number: an identity, SILENT, or an error to raise.
        advance: what a call gives, by the worker's number.
    """

    def __init__(self, answer: Answer, begin: Callable[[int], Any], advance: Callable[[int], Advance]):
        self._answer, self._begin, self._advance = answer, begin, advance
        self.members: dict[int, Member] = {}
        self.count, self.ended, self.closed = 0, list[int](), False
        self.dealt: list[tuple[int, list[int], Version | None]] = []
        """Worker, numbers and version of each call."""

    def start(self) -> int:
        number, self.count = self.count, self.count + 1
        self.members[number] = Member(number, None, time.monotonic())
        self._reply(number, lambda: self._begin(number))
        return number

    def advance(
        self, number: int, new: Sequence[tuple[int, Request]], stored: StoredVersion | None, most_seconds: float
    ) -> None:
        member = self.members[number]
        member.since, member.calling = time.monotonic(), True
        self.dealt.append((number, [ticket for ticket, _ in new], None if stored is None else stored.version))
        self._reply(number, lambda: self._advance(number)(new, stored))

    def _reply(self, number: int, call: Callable[[], Any]) -> None:
        future = Future()
        try:
            result = call()
        except Exception as error:
            future.set_exception(error)
        else:
            if result is SILENT:
                return
            future.set_result(result)
        self._answer(number, future)

    def end(self, number: int) -> None:
        del self.members[number]
        self.ended.append(number)

    def death(self, number: int, error: BaseException | None) -> Death:
        seconds = time.monotonic() - self.members[number].since
        return Death(number, "no answer" if error is None else str(error), (), seconds)

    def close(self) -> None:
        self.closed = True
        self.members.clear()
