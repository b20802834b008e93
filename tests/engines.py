# SPDX-License-Identifier: Apache-2.0
"""For tests of engines and of what uses them: an engine without a device, and weights to publish."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence

from flax import nnx

from ntl_jax.models import Decoder
from ntl_jax.records import Request, Trajectory, Version, VersionSpan, Weights
from ntl_jax.rollout import RolloutEngine
from ntl_jax.rollout.engine import WorkersLostError, check_finished, check_published


def weights_of(decoder: Decoder, iteration: int = 0) -> Weights:
    """The decoder's parameters under a version."""
    return Weights(Version(iteration), nnx.state(decoder, nnx.Param))


def as_bytes(trajectories: Iterable[Trajectory]) -> dict[tuple[int, int], tuple]:
    """What must not differ in one bit, by draw and sample."""
    return {
        (t.draw, t.sample_index): (
            t.response_ids.tobytes(),
            t.rollout_log_probs.tobytes(),
            None if t.digit_log_probs is None else t.digit_log_probs.tobytes(),
            t.finish_reason,
        )
        for t in trajectories
    }


class WrappedEngine(RolloutEngine):
    """Does what another engine does; what goes wrong is for a test to add."""

    def __init__(self, engine: RolloutEngine):
        super().__init__()
        self._engine = engine

    def publish(self, weights: Weights) -> None:
        self._engine.publish(weights)

    def retract(self) -> None:
        check_finished(self.unfinished)
        self._engine.retract()

    @property
    def lent(self) -> bool:
        return self._engine.lent

    @property
    def unfinished(self) -> int:
        return self._engine.unfinished + len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        self._engine.submit(requests)

    def _sample(self) -> list[list[Trajectory]]:
        return self._engine.step()

    def metrics(self) -> dict[str, float]:
        return self._engine.metrics()

    def close(self) -> None:
        self._engine.close()


class FakeEngine(RolloutEngine):
    """Answers each sample of a request with what ``respond(request, sample index)`` returns.

    The spans of versions are the engine's: those of the response are replaced by the version that was published when
    the request was submitted. ``published`` and ``submitted`` hold what came in, in order.

    Args:
        respond: makes one trajectory.
        last_first: groups are finished in the reverse order of submission.
        copies: nothing is lent, so that updates may go on while it samples.
        loses_workers_after: so many groups, once and for all; None: never.
    """

    def __init__(
        self,
        respond: Callable[[Request, int], Trajectory],
        *,
        last_first: bool = False,
        copies: bool = False,
        loses_workers_after: int | None = None,
    ):
        super().__init__()
        self._respond, self._last_first, self._copies = respond, last_first, copies
        self._left = loses_workers_after
        self._weights: Weights | None = None
        self._waiting: collections.deque[tuple[Request, Version]] = collections.deque()
        self.published: list[Version] = []
        self.submitted: list[Request] = []
        self.closed = False

    def publish(self, weights: Weights) -> None:
        assert not self.closed
        if self._weights is None or self._weights.version != weights.version:
            self._weights = weights
            self.published.append(weights.version)

    def retract(self) -> None:
        check_finished(self.unfinished)
        self._weights = None

    @property
    def lent(self) -> bool:
        return self._weights is not None and not self._copies

    @property
    def unfinished(self) -> int:
        return len(self._waiting) + len(self._finished)

    def submit(self, requests: Sequence[Request]) -> None:
        check_published(self._weights is not None)
        assert self._weights is not None and not self.closed
        self.submitted += requests
        self._waiting.extend((request, self._weights.version) for request in requests)

    def _sample(self) -> list[list[Trajectory]]:
        if self._left is not None:
            if not self._left:
                raise WorkersLostError("0 of 2 workers are left")
            self._left -= 1
        request, version = self._waiting.pop() if self._last_first else self._waiting.popleft()
        group = [self._respond(request, index) for index in range(request.sampling.num_samples)]
        return [[dataclasses.replace(t, versions=(VersionSpan(0, len(t.response_ids), version),)) for t in group]]

    def metrics(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._waiting.clear()
        self._finished.clear()
        self._weights, self.closed = None, True
