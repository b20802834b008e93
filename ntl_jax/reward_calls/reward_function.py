# SPDX-License-Identifier: Apache-2.0
"""Calling a reward function without trusting it.

A function that raises, hangs, ends its process or returns no usable number costs its sample, or in batch form its
group. The sample is marked invalid with the reason; it never counts as a score of 0.
"""

import functools
import itertools
import operator
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence

from ntl_jax.reward_calls.outcome import RewardOutcome
from ntl_jax.reward_calls.protocol import EXTRAS, check_call, group_call, is_built_in, load_reward
from ntl_jax.reward_calls.service import ANYTHING, Loaded, Order, Outcome
from ntl_jax.reward_calls.worker import ProcessWorker, ThreadWorker
from ntl_jax.reward_calls.workers import GRACE_S, RewardWorkers

Call = Mapping[str, object]
"""The keyword arguments of one sample."""


class RewardFunction:
    """A loaded reward function; ``reward(calls)`` returns one outcome per call, in order.

    A call is the keyword arguments of one sample; those the function does not take are left out. A function in batch
    form (`ntl_jax.reward_calls.protocol`) is called once per group. Functions of this package are called directly.
    Others are loaded and called in processes, several at once, and coroutines run together in one. A call that hangs is
    ended with its process.

    Args:
        function: ``path.py:name``, ``package.module:name``, or the function itself. A function object is called in a
            thread, which cannot be ended: if it hangs, the thread is left running; if it never releases the interpreter
            lock, as in a runaway regular expression, or ends the process, it takes the run with it.
        offered: keyword arguments beyond verl's four that the calls will hold.
        timeout_s: a call that takes longer than about this is ended.
        num_workers: largest number of processes or threads; more than one start only when calls are slow.

    Raises:
        ValueError: the function cannot be loaded or does not take the call, or ``timeout_s`` is not above 0.
        RewardError: from calls, when several of the last ones hung or ended their process.

    Example:
        >>> reward = RewardFunction("ntl_jax.rewards:exact_match", offered=())
        >>> call = {"data_source": "gsm8k", "solution_str": "#### 72", "ground_truth": "72", "extra_info": {}}
        >>> [outcome.score.item() for outcome in reward([call, call | {"solution_str": "no idea"}])]
        [1.0, 0.0]
    """

    def __init__(
        self,
        function: str | Callable[..., object],
        *,
        offered: Sequence[str] = EXTRAS,
        timeout_s: float = 60.0,
        num_workers: int = 4,
    ) -> None:
        if not 0 < timeout_s <= threading.TIMEOUT_MAX - GRACE_S:
            raise ValueError(f"timeout_s={timeout_s}: a number of seconds above 0 is needed, and a finite one")
        self.spec = function if isinstance(function, str) else getattr(function, "__qualname__", repr(function))
        self._workers, self._built_in = None, None
        limits = {"limit": num_workers, "timeout_s": timeout_s}
        if not isinstance(function, str):
            loaded = Loaded.of(function, check_call(self.spec, function, offered), self.spec)
            start = functools.partial(ThreadWorker, function, timeout_s)
            self._workers = RewardWorkers(self.spec, loaded, start(), start, **limits)
        elif is_built_in(function):
            self._built_in, takes = load_reward(function, offered=offered)
            loaded = Loaded(takes, together=False, in_groups=False, sources={})
        else:
            start = functools.partial(ProcessWorker, Order(function, offered, timeout_s, sys.path))
            first = start()
            loaded = first.load(timeout_s)
            self._workers = RewardWorkers(self.spec, loaded, first, start, **limits)
        self.takes, self.sources = loaded.takes, loaded.sources
        self._left_out, self._in_groups = set(offered) - self.takes, loaded.in_groups

    def __call__(self, calls: Sequence[Mapping[str, object]]) -> list[RewardOutcome]:
        return self.begin(calls)()

    def begin(
        self, calls: Sequence[Mapping[str, object]], groups: Sequence[int] | None = None
    ) -> Callable[[], list[RewardOutcome]]:
        """Has calls made while the caller goes on.

        Args:
            calls: one per sample.
            groups: a number per call, equal for neighbors of one group; None: all are one group.

        Returns:
            A function that waits for their outcomes, one per sample.
        """
        given = [{k: v for k, v in call.items() if k not in self._left_out} for call in calls]
        if self._workers is None:
            assert self._built_in is not None
            outcomes = [_outcome(self._built_in, call) for call in given]
            return lambda: outcomes
        together = [[call] for call in given]
        if self._in_groups:
            together = _neighbors(given, [0] * len(given) if groups is None else groups)
            given = [group_call(group) for group in together]
        pending = list(zip(self._workers.submit(given), together, strict=True))
        return lambda: [outcome for waited, group in pending for outcome in _each(waited.result(), len(group))]

    def close(self) -> None:
        """Ends the processes."""
        if self._workers is not None:
            self._workers.close()


def _neighbors(calls: Sequence[Call], groups: Sequence[int]) -> list[list[Call]]:
    """The calls, those next to each other with one number together."""
    numbered = itertools.groupby(zip(groups, calls, strict=True), key=operator.itemgetter(0))
    return [[call for _, call in pairs] for _, pairs in numbered]


def _each(outcome: Outcome, size: int) -> list[RewardOutcome]:
    """The outcome of each sample of a call."""
    return outcome if isinstance(outcome, list) else [outcome] * size


def _outcome(function: Callable[..., object], call: Mapping[str, object]) -> RewardOutcome:
    try:
        return RewardOutcome.of(function(**call))
    except ANYTHING:
        return RewardOutcome.failed(traceback.format_exc())
