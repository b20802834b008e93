# SPDX-License-Identifier: Apache-2.0
"""The workers' processes: starts them as Ray actors, ends them, and finds out why one died."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError

from ntl_jax.records import Request
from ntl_jax.rollout.pool.versions import StoredVersion
from ntl_jax.rollout.pool.worker import EngineFactory, Identity, Worker, this_host

LOG_LINES = 5
"""Last lines of a dead worker's log in the report of its death."""


class Placement(NamedTuple):
    """What Ray gives each worker.

    Args:
        cpus, gpus: numbers of them.
        resources: the cluster's own resources, by name.
        environment: environment variables of the process.
    """

    cpus: float = 1
    gpus: float = 0
    resources: Mapping[str, float] = {}
    environment: Mapping[str, str] = {}

    @property
    def demand(self) -> dict[str, float]:
        """Everything that Ray counts, by Ray's names."""
        counted = {"CPU": self.cpus, "GPU": self.gpus, **self.resources}
        return {name: amount for name, amount in counted.items() if amount}


class Death(NamedTuple):
    """A worker's death.

    Args:
        worker: its number.
        cause: one line.
        log: the last lines of its log; empty if they cannot be read from here.
        silent_s: seconds since the call in flight was made.
    """

    worker: int
    cause: str
    log: tuple[str, ...]
    silent_s: float

    def __str__(self) -> str:
        return "\n    ".join([f"worker {self.worker}: {self.cause}", *self.log])


@dataclasses.dataclass(eq=False)
class Member:
    """One worker of the crew.

    Args:
        number: counts all workers ever started.
        actor: Ray's handle.
        since: when the call in flight was made.
        identity: None until it has answered for the first time.
        calling: whether a call is in flight.
    """

    number: int
    actor: Any
    since: float
    identity: Identity | None = None
    calling: bool = True


Answer = Callable[[int, Future], None]
"""Takes a worker's number and the future of its answer: an `Identity` first, then `Report`s."""


class Crew:
    """The living workers.

    Args:
        engine_factory: makes a worker's engine.
        placement: what each worker gets.
        answer: called in a thread of Ray's for each answer or failure.
    """

    def __init__(self, engine_factory: EngineFactory, placement: Placement, answer: Answer):
        self._factory, self._answer = ray.put(engine_factory), answer
        self._actor = ray.remote(Worker).options(
            num_cpus=placement.cpus,
            num_gpus=placement.gpus,
            resources=dict(placement.resources),
            scheduling_strategy="SPREAD",
            max_restarts=0,
            runtime_env={"env_vars": dict(placement.environment)},
        )
        self.members: dict[int, Member] = {}
        self._count = 0

    def start(self) -> int:
        """Starts a worker, which answers with its identity; returns its number."""
        number, self._count = self._count, self._count + 1
        actor: Any = self._actor.remote(self._factory)
        self.members[number] = Member(number, actor, time.monotonic())
        self._call(self.members[number], actor.begin.remote())
        return number

    def advance(
        self, number: int, new: Sequence[tuple[int, Request]], stored: StoredVersion | None, most_seconds: float
    ) -> None:
        """Calls `Worker.advance`."""
        member = self.members[number]
        member.since, member.calling = time.monotonic(), True
        self._call(member, member.actor.advance.remote(new, stored, most_seconds))

    def _call(self, member: Member, reference: ray.ObjectRef) -> None:
        reference.future().add_done_callback(lambda future: self._answer(member.number, future))

    def end(self, number: int) -> None:
        """Ends a worker's process, also one that is stopped or stuck."""
        member = self.members.pop(number)
        with contextlib.suppress(RayError):
            ray.kill(member.actor)
        if member.identity is not None and member.identity.host == this_host():
            with contextlib.suppress(ProcessLookupError):  # Ray waits 5 s for a process that does not react
                os.kill(member.identity.pid, signal.SIGKILL)

    def death(self, number: int, error: BaseException | None) -> Death:
        """Why a worker is given up; None: it has not answered in time."""
        member = self.members[number]
        seconds = time.monotonic() - member.since
        cause = f"no answer for {seconds:.0f} s" if error is None else _cause(error)
        return Death(number, cause, _log_tail(member.identity), seconds)

    def close(self) -> None:
        for number in list(self.members):
            self.end(number)


def user_error(error: BaseException) -> ValueError | None:
    """The ValueError with which an engine refused its settings, if that is why its worker could not start."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    return cause if isinstance(cause, ValueError) else None


def _cause(error: BaseException) -> str:
    """One line from Ray's report."""
    if isinstance(error, RayTaskError):
        return str(error).strip().splitlines()[-1]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next(
        (line for line in lines if line.startswith("The actor is dead because")), lines[0] if lines else repr(error)
    )
    return told.split(" Some common causes include")[0]


def _log_tail(identity: Identity | None) -> tuple[str, ...]:
    if identity is None or identity.host != this_host():
        return ()
    with contextlib.suppress(OSError):
        return tuple(pathlib.Path(identity.log).read_text(errors="replace").splitlines()[-LOG_LINES:])
    return ()
