# SPDX-License-Identifier: Apache-2.0
"""Calling a reward function for a batch without trusting it.

A thread per batch makes the calls, one after the other; coroutines run together in one event loop there. Results
come back through a queue, and a call that keeps it silent for too long is given up: its thread is left behind (Python
cannot stop it, but it makes no further calls) and a new one goes on with the next sample. A function that never lets
go of the interpreter, as a runaway regular expression does, cannot be given up this way.

This is the one place where any exception is caught: a reward that raises, hangs or returns no finite number costs its
sample, which is marked invalid with the reason; it never counts as a score of 0.
"""

import asyncio
import inspect
import math
import queue
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, SupportsFloat, SupportsIndex

import numpy as np

from ntl_jax.rewards.protocol import EXTRAS, load_reward, source_files

# An event loop keeps the time limit itself; the batch waits this much longer before it gives up the loop.
_GRACE_S = 0.5
# SystemExit and CancelledError are no Exceptions, but user code can raise them and must not end the run with them.
_ANYTHING = (Exception, SystemExit, asyncio.CancelledError)


class RewardOutcome(NamedTuple):
    """What a reward function made of one sample.

    Args:
        score: float32; NaN where not valid, so that it cannot pass for a score.
        valid: False: the sample must be left out of the update and of its group's mean.
        metrics: the other finite numbers the function returned.
        error: why it is not valid, with the traceback where there is one.

    Example:
        >>> RewardOutcome.of({"score": 1, "length": 7, "note": "fine"})
        RewardOutcome(score=np.float32(1.0), valid=True, metrics={'length': 7.0}, error=None)
        >>> RewardOutcome.of(math.inf).error
        'score inf: not finite in float32'
    """

    score: np.float32
    valid: bool
    metrics: Mapping[str, float]
    error: str | None

    @classmethod
    def of(cls, result: object) -> "RewardOutcome":
        """Reads what the function returned: a number, or a dict with ``score``."""
        extras = dict(result) if isinstance(result, Mapping) else {"score": result}
        if "score" not in extras:
            return cls.failed(f"a dict without 'score', but with {sorted(map(str, extras))}")
        raw = extras.pop("score")
        if (number := _number(raw)) is None:
            return cls.failed(f"score {raw!r:.200} of type {type(raw).__name__}: a number is needed")
        with np.errstate(over="ignore"):
            score = np.float32(number)
        if not np.isfinite(score):
            return cls.failed(f"score {number}: not finite in float32")
        others = {str(key): _number(value) for key, value in extras.items()}
        return cls(score, True, {key: x for key, x in others.items() if x is not None and math.isfinite(x)}, None)

    @classmethod
    def failed(cls, error: str) -> "RewardOutcome":
        """The outcome of a call that gave no score."""
        return cls(np.float32(np.nan), False, {}, error)


class RewardFunction:
    """A loaded reward function; ``reward(calls)`` returns one outcome per call, in order, and never raises.

    A call is the keyword arguments of one sample; those the function does not take are left out.

    Args:
        spec: ``path.py:name`` or ``package.module:name``.
        offered: keyword arguments beyond verl's four that the calls will hold.
        timeout_s: a call that takes longer than about this is given up.

    Raises:
        ValueError: the function cannot be loaded or does not take the call, or ``timeout_s`` is not above 0.

    Example:
        >>> reward = RewardFunction("ntl_jax.rewards:exact_match", offered=())
        >>> call = {"data_source": "gsm8k", "solution_str": "#### 72", "ground_truth": "72", "extra_info": {}}
        >>> [outcome.score.item() for outcome in reward([call, call | {"solution_str": "no idea"}])]
        [1.0, 0.0]
    """

    def __init__(self, spec: str, *, offered: Sequence[str] = EXTRAS, timeout_s: float = 60.0) -> None:
        if not 0 < timeout_s <= threading.TIMEOUT_MAX - _GRACE_S:
            raise ValueError(f"timeout_s={timeout_s}: a number of seconds above 0 is needed, and a finite one")
        self.spec = spec
        self._function, self.takes = load_reward(spec, offered=offered)
        self.files = source_files(spec, self._function)
        self._left_out = set(offered) - self.takes
        self._timeout_s = timeout_s

    def __call__(self, calls: Sequence[Mapping[str, object]]) -> list[RewardOutcome]:
        left = {i: {k: v for k, v in call.items() if k not in self._left_out} for i, call in enumerate(calls)}
        outcomes: dict[int, RewardOutcome] = {}
        while left:
            worker = _Worker(self._function, dict(left), self._timeout_s)
            worker.start()
            while left:
                try:
                    index, outcomes[index] = worker.results.get(timeout=self._timeout_s + _GRACE_S)
                except queue.Empty:
                    for index in worker.give_up() & left.keys():
                        outcomes[index] = _timed_out(self._timeout_s)
                        del left[index]
                    break
                del left[index]
        return [outcomes[i] for i in range(len(calls))]


class _Worker(threading.Thread):
    """Makes the calls it is given; ``results`` receives (index, outcome) as they come in."""

    def __init__(
        self, function: Callable[..., object], calls: Mapping[int, Mapping[str, object]], timeout_s: float
    ) -> None:
        super().__init__(name="reward", daemon=True)
        self.results: queue.SimpleQueue[tuple[int, RewardOutcome]] = queue.SimpleQueue()
        self._function, self._calls, self._timeout_s = function, calls, timeout_s
        self._running: frozenset[int] = frozenset()
        self._abandoned = False

    def give_up(self) -> frozenset[int]:
        """Makes no further calls; returns which are under way."""
        self._abandoned = True
        return self._running

    def run(self) -> None:
        pending: dict[int, Awaitable[object]] = {}
        for index, call in self._calls.items():
            if self._abandoned:
                return
            self._running = frozenset([index])
            try:
                result = self._function(**call)
                if inspect.isawaitable(result):
                    pending[index] = result
                else:
                    self.results.put((index, RewardOutcome.of(result)))
            except _ANYTHING:
                self.results.put((index, RewardOutcome.failed(traceback.format_exc())))
        self._running = frozenset(pending)
        if pending:
            asyncio.run(self._await_all(pending))

    async def _await_all(self, pending: Mapping[int, Awaitable[object]]) -> None:
        await asyncio.gather(*(self._await_one(index, result) for index, result in pending.items()))

    async def _await_one(self, index: int, result: Awaitable[object]) -> None:
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                outcome = RewardOutcome.of(await result)
        except _ANYTHING:
            outcome = _timed_out(self._timeout_s) if limit.expired() else RewardOutcome.failed(traceback.format_exc())
        self.results.put((index, outcome))


def _timed_out(timeout_s: float) -> RewardOutcome:
    return RewardOutcome.failed(f"no result after {timeout_s:g} s")


def _number(value: object) -> float | None:
    """The value as a float; None where it is no number."""
    if isinstance(value, str) or not isinstance(value, SupportsFloat | SupportsIndex):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None
