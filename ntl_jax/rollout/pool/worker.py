# SPDX-License-Identifier: Apache-2.0
"""A worker of the pool: one engine in a process of its own. Ray makes an actor of it."""

import dataclasses
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import ray

from ntl_jax.records import Request, Version
from ntl_jax.rollout.engine import RolloutEngine
from ntl_jax.rollout.flat_trajectories import FlatTrajectories, flatten
from ntl_jax.rollout.pool.versions import StoredVersion, pull

EngineFactory = Callable[[], RolloutEngine]
"""Makes an engine in the worker's process, where no JAX backend has started yet."""


class Identity(NamedTuple):
    """What a worker says of itself at its start.

    Args:
        host, pid: where it runs; see `this_host`.
        log: file with what its process prints; on its host.
        cores: cores that it may use.
        xla_flags: its ``XLA_FLAGS``; other flags can change last bits.
        gpus: the GPUs that Ray gave it, as in ``CUDA_VISIBLE_DEVICES``.
    """

    host: str
    pid: int
    log: str
    cores: int
    xla_flags: str
    gpus: tuple[str, ...]

    @classmethod
    def of_this_process(cls) -> "Identity":
        return cls(
            this_host(),
            os.getpid(),
            os.path.realpath("/proc/self/fd/2"),
            len(os.sched_getaffinity(0)),
            os.environ.get("XLA_FLAGS", ""),
            tuple(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))),
        )


class Finished(NamedTuple):
    """A finished request: its number and its samples."""

    number: int
    samples: FlatTrajectories


class Report(NamedTuple):
    """What a call of `Worker.advance` did.

    Args:
        finished: requests that are done.
        busy_s: seconds in which the engine sampled.
        pull_s: seconds in which weights were pulled and verified.
        load_s: seconds in which the engine loaded them.
    """

    finished: Sequence[Finished]
    busy_s: float
    pull_s: float
    load_s: float


class Worker:
    """Runs an engine. Every call is short, so that a worker that does not answer is stuck.

    Args:
        engine_factory: makes the engine.
    """

    def __init__(self, engine_factory: EngineFactory):
        self._make_engine = engine_factory
        self._held: Version | None = None

    def begin(self) -> Identity:
        """Makes the engine, before any other call; an actor's constructor would lose the type of an error."""
        self._engine = self._make_engine()
        return Identity.of_this_process()

    def advance(self, new: Sequence[tuple[int, Request]], stored: StoredVersion | None, most_seconds: float) -> Report:
        """Takes new requests and samples until one is done, or time is up.

        Args:
            new: requests by number, all for one version. Their prompts carry no text.
            stored: the version that they need; None without new requests.
            most_seconds: time after which it returns; a step of the engine is not interrupted.

        Raises:
            PulledWeightsError: if weights arrived damaged; the engine keeps those that it has.
        """
        began, pull_s, load_s = time.perf_counter(), 0.0, 0.0
        if stored is not None:
            if stored.version != self._held:
                weights = pull(stored, ray.get)
                pull_s = time.perf_counter() - began
                self._engine.publish(weights)
                self._held = stored.version
                load_s = time.perf_counter() - began - pull_s
            self._engine.submit([_numbered(request, number) for number, request in new])
        finished: list[Finished] = []
        sampling = time.perf_counter()
        while self._engine.unfinished and not finished and time.perf_counter() - began < most_seconds:
            finished += [Finished(group[0].prompt_index, flatten(group)) for group in self._engine.step()]
        return Report(finished, time.perf_counter() - sampling, pull_s, load_s)


def this_host() -> str:
    """Names this machine, or this container, such that process ids mean the same wherever the name is the same."""
    return f"{socket.gethostname()}, pid namespace {os.stat('/proc/self/ns/pid').st_ino}"


def differences(workers: Sequence[Identity], trainer: Identity) -> list[str]:
    """In what workers differ from the trainer's process, so that their samples may differ in last bits.

    Example:
        >>> here = Identity("a", 1, "log", cores=2, xla_flags="", gpus=())
        >>> differences([here, here._replace(pid=2, cores=1)], here)
        ['cores: 2, 1 in workers, 2 in the trainer']
    """
    return [
        f"{name}: {', '.join(repr(getattr(worker, name)) for worker in workers)} in workers, "
        f"{getattr(trainer, name)!r} in the trainer"
        for name in ("cores", "xla_flags")
        if any(getattr(worker, name) != getattr(trainer, name) for worker in workers)
    ]


def _numbered(request: Request, number: int) -> Request:
    """The request with its number in place of the prompt's index, by which its samples are known; the draw stays."""
    return dataclasses.replace(request, prompt=dataclasses.replace(request.prompt, index=number))
