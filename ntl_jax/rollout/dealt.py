# SPDX-License-Identifier: Apache-2.0
"""Sampling in several processes that train together: each samples its part of the requests, and all get all samples.

Random keys derive from a request's seed, draw and sample index, so that samples do not depend on who draws them.
"""

from collections.abc import Callable, Sequence

from ntl_jax.processes.exchange import agreed, num_processes, process_id
from ntl_jax.records import Params, Request, Trajectory, Weights
from ntl_jax.rollout.engine import RolloutEngine


class DealtEngine(RolloutEngine):
    """The engines of all processes as one engine, whose methods all processes must call alike.

    Args:
        inner: this process's engine; None: it samples nothing.
        prepare: from published parameters, which lie on the devices of all processes, to those for the own engine; all
            processes call it together.
        shared: whether each process has an engine and samples its part to the end; else the first process, which may
            go on to train meanwhile, has the only one.
    """

    def __init__(self, inner: RolloutEngine | None, prepare: Callable[[Params], Params], *, shared: bool):
        super().__init__()
        self._inner, self._prepare, self._shared = inner, prepare, shared
        self._num_sampling, self._version = 0, None

    def publish(self, weights: Weights) -> None:
        if self._version == weights.version:
            return
        prepared = Weights(weights.version, self._prepare(weights.params))
        agreed(lambda: self._inner and self._inner.publish(prepared))
        self._version = weights.version

    def retract(self) -> None:
        if self._inner is not None:
            self._inner.retract()
        self._version = None

    @property
    def lent(self) -> bool:
        return self._inner is not None and self._inner.lent

    @property
    def unfinished(self) -> int:
        return self._num_sampling + len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        own = requests[process_id() :: num_processes()] if self._shared else requests
        agreed(lambda: self._inner and self._inner.submit(own))
        self._num_sampling += len(requests)

    def _sample(self) -> list[list[Trajectory]]:
        parts = agreed(self._own_groups)
        groups = [group for part in parts for group in part]
        self._num_sampling -= len(groups)
        return groups

    def _own_groups(self) -> list[list[Trajectory]]:
        """What the own engine has finished; if all processes sample, they wait for each other only once."""
        if self._inner is None:
            return []
        return list(self._inner.results()) if self._shared else self._inner.step()

    def metrics(self) -> dict[str, float]:
        return {} if self._inner is None else self._inner.metrics()

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()
