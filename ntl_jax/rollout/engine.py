# SPDX-License-Identifier: Apache-2.0
"""The interface of rollout engines."""

import abc
import collections
import contextlib
from collections.abc import Iterator, Sequence

from ntl_jax.models import ModelConfig
from ntl_jax.records import Prompt, Request, Sampling, Trajectory, Weights


class WorkersLostError(RuntimeError):
    """An engine has lost so many of its workers that it cannot sample any more."""


class RolloutEngine(abc.ABC):
    """Samples responses and captures, in the same pass, the distribution that each token was drawn from.

    Publish weights, submit requests, and read finished groups from ``results``, or from ``step``; ``generate`` submits
    and waits for the results. Only requests with one Sampling and one weight version decode together, in the order of
    submission: other requests wait until those in flight are done.
    """

    def __init__(self):
        self._finished: collections.deque[list[Trajectory]] = collections.deque()
        """Groups that are finished and not returned yet."""

    @abc.abstractmethod
    def publish(self, weights: Weights) -> None:
        """Sets the weights for requests submitted from now on, all or nothing.

        Lends the arrays: the engine may read them until ``retract()``. Does nothing if the engine already holds this
        version. Requests submitted earlier finish with the weights that were published when they were submitted.

        Raises:
            ValueError: if the weights do not fit the policy; the engine keeps its weights.
        """

    @abc.abstractmethod
    def retract(self) -> None:
        """Ends the loan: the engine drops its references, and ``submit`` raises until weights are published again.

        Raises:
            ValueError: if requests are unfinished.
        """

    @property
    @abc.abstractmethod
    def lent(self) -> bool:
        """Whether the engine may still read published arrays, so that no update may reuse their memory."""

    @property
    @abc.abstractmethod
    def unfinished(self) -> int:
        """Number of requests whose groups have not been returned yet."""

    @abc.abstractmethod
    def submit(self, requests: Sequence[Request]) -> None:
        """Queues requests; never waits for sampling.

        Args:
            requests: any number, in any order.

        Raises:
            ValueError: if no weights are published, or naming all requests that cannot be sampled; none is queued.
        """

    @abc.abstractmethod
    def _sample(self) -> list[list[Trajectory]]:
        """What `step` does, with at least one request that is not finished."""

    def step(self) -> list[list[Trajectory]]:
        """Samples for a moment: a segment of the JAX engine, one token of each running sample of vLLM.

        Returns:
            The groups that have finished and were not returned yet, in order of completion; each holds all samples of
            one request, by sample index. None if nothing is unfinished.
        """
        if self.unfinished and not self._finished:
            self._finished.extend(self._sample())
        groups = list(self._finished)
        self._finished.clear()
        return groups

    def results(self) -> Iterator[list[Trajectory]]:
        """Steps, and yields the groups of `step` one by one.

        Ends when all submitted requests are done; more may be submitted meanwhile. An iteration may stop and start
        again: no group is lost.
        """
        while self.unfinished:
            while not self._finished:
                self._finished.extend(self.step())
            yield self._finished.popleft()

    @contextlib.contextmanager
    def lending(self, weights: Weights) -> Iterator[None]:
        """Publishes weights for the duration of a context, and retracts them at its end, also after an error.

        If an error leaves requests unfinished, they still need the weights: these stay lent, and the error is raised.

        Args:
            weights: as in `publish`.

        Raises:
            ValueError: if the context ends without an error and requests are unfinished.
        """
        self.publish(weights)
        with contextlib.ExitStack() as failed:
            failed.callback(lambda: None if self.unfinished else self.retract())
            yield
            failed.pop_all()
        self.retract()

    @abc.abstractmethod
    def metrics(self) -> dict[str, float]:
        """Metrics of the sampling since the last call, by name."""

    @abc.abstractmethod
    def close(self) -> None:
        """Frees the engine's resources. The engine cannot be used afterwards."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int) -> list[Trajectory]:
        """Draws ``sampling.num_samples`` responses to each prompt, and waits for them.

        Args:
            prompts: any number, in any order; random keys derive from ``seed``, ``Prompt.draw`` and the sample's
                index, so the order and the neighbors of a prompt do not change its samples.
            sampling: sampling parameters.
            seed: seed of this call, derived from the run's seed and step; in [0, 2**32).

        Returns:
            Trajectories in prompt order, then sample order.

        Raises:
            ValueError: as ``submit``; also while earlier requests are unfinished.
        """
        if self.unfinished:
            raise ValueError(
                f"{self.unfinished} requests are unfinished, whose results would be mixed with those of generate(): "
                "read results() to its end first, or submit() these prompts too"
            )
        self.submit([Request(prompt, sampling, seed) for prompt in prompts])
        groups = collections.defaultdict(collections.deque)
        for group in self.results():
            groups[group[0].prompt_index, group[0].draw, group[0].prompt_ids.tobytes()].append(group)
        in_order = [groups[prompt.index, prompt.draw, prompt.ids.tobytes()].popleft() for prompt in prompts]
        return [trajectory for group in in_order for trajectory in group]


def check_published(published: bool) -> None:
    """Raises ValueError if there are no weights to sample from."""
    if not published:
        raise ValueError(
            "the engine has no weights to sample from: publish(Weights(version, params)) before submit() or "
            "generate(), and again after retract()"
        )


def check_finished(unfinished: int) -> None:
    """Raises ValueError if unfinished requests still need the weights to retract."""
    if unfinished:
        raise ValueError(
            f"{unfinished} requests are unfinished and need the published weights: read results() to its end before "
            "retract()"
        )


def check_requests(requests: Sequence[Request], model: ModelConfig, max_prompt_tokens: int) -> None:
    """Raises a ValueError for requests that no engine can sample: see `check_prompts` and `check_positions`."""
    check_prompts([request.prompt for request in requests], max_prompt_tokens, model.num_ids)
    lengths = [(len(request.prompt.ids), request.sampling.max_tokens) for request in requests]
    check_positions(*max(lengths, key=sum, default=(0, 0)), model.max_positions)


def check_prompts(prompts: Sequence[Prompt], max_prompt_tokens: int, num_ids: int) -> None:
    """Raises a ValueError that names the prompts that no engine can sample from."""
    problems = []
    for prompt in prompts:
        if len(prompt.ids) == 0:
            problems.append(f"prompt {prompt.index} is empty")
        elif len(prompt.ids) > max_prompt_tokens:
            problems.append(f"prompt {prompt.index} has {len(prompt.ids)} tokens, the engine takes {max_prompt_tokens}")
        elif prompt.ids.min() < 0 or prompt.ids.max() >= num_ids:
            low, high = prompt.ids.min(), prompt.ids.max()
            problems.append(f"prompt {prompt.index} holds ids outside [0, {num_ids}): from {low} to {high}")
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(prompts)} prompts cannot be sampled:\n  " + "\n  ".join(problems[:10])
        )


def check_positions(
    num_prompt_tokens: int,
    max_tokens: int,
    max_positions: int | None,
    *,
    setting: str = "max_tokens",
    prompt_setting: str = "max_prompt_tokens",
) -> None:
    """Raises unless a prompt and its response fit into the positions that the policy supports.

    Args:
        num_prompt_tokens: length of the longest prompt.
        max_tokens: length of the longest response.
        max_positions: ``ModelConfig.max_positions``; None: no bound.
        setting, prompt_setting: what limits the response and the prompt, as the message names them.

    Raises:
        ValueError: if prompt and response together exceed the positions.

    Example:
        >>> check_positions(24, 40, 64)
        >>> try:
        ...     check_positions(24, 41, 64)
        ... except ValueError as error:
        ...     print(str(error).partition(": ")[2])
        lower max_tokens to 40 or less, or max_prompt_tokens
    """
    total = num_prompt_tokens + max_tokens
    if max_positions is not None and total > max_positions:
        room = max_positions - num_prompt_tokens
        remedy = f"{setting} to {room} or less, or {prompt_setting}" if room > 0 else prompt_setting
        raise ValueError(
            f"a prompt of {num_prompt_tokens} tokens with a response of up to {max_tokens} takes {total} positions, "
            f"but the policy has {max_positions}: lower {remedy}"
        )
