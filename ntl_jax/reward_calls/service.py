# SPDX-License-Identifier: Apache-2.0
"""What a reward worker does: it makes the calls. `main` is a worker's process.

The process loads the function itself, so that nothing in its file can affect the trainer. The trainer kills a process
that stays silent for too long (`ntl_jax.reward_calls.workers`).
"""

import asyncio
import contextlib
import hashlib
import inspect
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

from ntl_jax.reward_calls.outcome import RewardOutcome, outcomes_of_group
from ntl_jax.reward_calls.protocol import PLURALS, load_reward, source_files, takes_groups

Numbered = tuple[int, Mapping[str, object]]
"""A call's number, and its keyword arguments."""
Outcome = RewardOutcome | list[RewardOutcome]
"""Of a call: for its sample, or for each sample of its group; a call that fails has one, for all of them."""
TEXTS = PLURALS["solution_str"]
"""What a call for a group holds, and no other call."""
# SystemExit and CancelledError are no Exceptions, but user code can raise them and must not end the worker with them.
ANYTHING = (Exception, SystemExit, asyncio.CancelledError)


class Order(NamedTuple):
    """What a worker's process needs to know to load the function."""

    spec: str
    offered: Sequence[str]
    timeout_s: float
    search_path: Sequence[str]


class Loaded(NamedTuple):
    """What is known about a loaded function.

    Args:
        takes: keyword arguments beyond verl's four that it takes.
        together: whether its calls run together in an event loop.
        in_groups: whether one call is made for the samples of a group.
        sources: hash of each file that names or defines it.
    """

    takes: frozenset[str]
    together: bool
    in_groups: bool
    sources: Mapping[str, str]

    @classmethod
    def of(cls, function: Callable[..., object], takes: frozenset[str], spec: str) -> "Loaded":
        """Of a function that `load_reward` found."""
        together = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        files = source_files(spec, function)
        hashes = {str(x): hashlib.sha256(x.read_bytes()).hexdigest() for x in files}
        return cls(takes, together, takes_groups(function), hashes)


def serve(
    function: Callable[..., object], connection: Connection, timeout_s: float, left: threading.Event | None = None
) -> None:
    """Makes the calls that come in until the other end closes, and sends the number and outcome of each.

    Args:
        function: the reward function.
        connection: brings lists of `Numbered`.
        timeout_s: a coroutine that takes longer is cancelled.
        left: once it is set, no further calls are made.
    """
    asyncio.run(_serve(function, connection, timeout_s, left or threading.Event()))


async def _serve(
    function: Callable[..., object], connection: Connection, timeout_s: float, left: threading.Event
) -> None:
    running: set[asyncio.Task[None]] = set()
    while True:
        try:
            calls: Sequence[Numbered] = await asyncio.to_thread(connection.recv)
        except (EOFError, OSError):
            return
        for number, call in calls:
            task = asyncio.create_task(_answer(function, number, call, connection, timeout_s, left))
            running.add(task)
            task.add_done_callback(running.discard)


async def _answer(
    function: Callable[..., object],
    number: int,
    call: Mapping[str, object],
    connection: Connection,
    timeout_s: float,
    left: threading.Event,
) -> None:
    if left.is_set():
        return
    limit = asyncio.timeout(timeout_s)
    try:
        result = function(**call)
        if inspect.isawaitable(result):
            async with limit:
                result = await result
        outcome = read_result(result, call)
    except ANYTHING:
        outcome = timed_out(timeout_s) if limit.expired() else RewardOutcome.failed(traceback.format_exc())
    with contextlib.suppress(OSError):  # the other end is closed: nobody waits for the answer
        connection.send((number, outcome))


def read_result(result: object, call: Mapping[str, object]) -> Outcome:
    """The outcome of a call that has returned."""
    texts = call.get(TEXTS)
    return outcomes_of_group(result, len(texts)) if isinstance(texts, list) else RewardOutcome.of(result)


def timed_out(timeout_s: float) -> RewardOutcome:
    """The outcome of a call that took too long."""
    return RewardOutcome.failed(f"no result after reward.timeout_s={timeout_s:g}")


def main(descriptor: int) -> None:
    """A worker's process: loads the function and tells what it is, or why it cannot be used; then serves."""
    _end_with_parent()
    connection = Connection(descriptor)
    order: Order = connection.recv()
    sys.path[:] = order.search_path
    try:
        function, takes = load_reward(order.spec, offered=order.offered)
    except ValueError as error:
        connection.send(error)
        return
    connection.send(Loaded.of(function, takes, order.spec))
    serve(function, connection, order.timeout_s)


def _end_with_parent() -> None:
    """Has Linux kill this process when the thread that started it ends, also where the trainer is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
