# SPDX-License-Identifier: Apache-2.0
"""The scored samples of an iteration: one round of requests, or several until enough prompts teach (dynamic sampling).

Requests of an iteration may be submitted long before its samples are collected.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ntl_jax.config import RunConfig
from ntl_jax.data import DataCursor
from ntl_jax.experience.digits.source import DigitSource
from ntl_jax.experience.scored import Scored, join_scored
from ntl_jax.experience.scorer import Scorer, reward_temperature
from ntl_jax.metrics import Clock
from ntl_jax.records import Params, Prompt, Request, Sampling, Trajectory
from ntl_jax.rollout import RolloutEngine
from ntl_jax.rollout.flat_trajectories import FlatTrajectories, flatten, unflatten

STREAM = 2  # separates this stage's random numbers from those of other stages
PROBE_CALL = 2**31  # separates the random numbers of probes from those of an iteration's calls
PROBE_DRAWS = 2**31  # draws of probes count from here, where those of training do not come


class Samples(NamedTuple):
    """What an iteration learns from.

    Args:
        scored: the same number of samples for each prompt.
        learned: samples that the update may use.
        greedy_scores: reward of the greedy response to each sample's prompt, for remax.
        metrics: metrics of the sampling.
        probe: samples of the newest weights, which nothing learns from.
    """

    scored: Scored
    learned: Bool[np.ndarray, "B"]
    greedy_scores: Float[np.ndarray, "B"] | None
    metrics: dict[str, float]
    probe: Sequence[Trajectory] = ()


class Collector:
    """Draws prompts, samples responses and scores them.

    Dynamic sampling drops prompts whose samples all score the same, and draws others: Yu et al., "DAPO", section 3.2,
    https://arxiv.org/abs/2503.14476. Here the number of draws is bounded and the shape of an iteration is fixed: if too
    few prompts teach, others fill the iteration and are left out of the update.

    Args:
        config: its ``algorithm``, ``ntl``, ``rollout``, ``seed`` and ``data.weights``.
        prompts: the training prompts.
        engine: samples responses.
        digits: fills in the log-probs of digits.
        scorer: computes rewards.
        sampling: sampling parameters.
    """

    def __init__(
        self,
        config: RunConfig,
        prompts: Sequence[Prompt],
        engine: RolloutEngine,
        digits: DigitSource,
        scorer: Scorer,
        sampling: Sampling,
    ):
        self._seed, self._algorithm = config.seed, config.algorithm
        self._prompts, self._engine, self._sampling = prompts, engine, sampling
        self._digits, self._scorer, self._ntl = digits, scorer, config.ntl
        self._num_prompts = config.rollout.prompts_per_step
        self._draws_per_epoch = 1 + max(prompt.index for prompt in prompts)
        source_indices = [prompt.source_index for prompt in prompts]
        order = {"seed": config.seed + STREAM, "source_indices": source_indices, "weights": config.data.weights}
        self.cursor = DataCursor(len(prompts), self._num_prompts, **order)
        self.begun: dict[int, list[Prompt]] = {}
        """Prompts of the iterations whose samples are not collected yet."""
        self._arrived: dict[int, list[Trajectory]] = {}
        """Groups that nobody has asked for yet, by draw."""
        self._lacking: dict[int, list[Prompt]] = {}
        """Prompts of begun iterations that are to be submitted again."""

    def begin(self, iteration: int) -> None:
        """Draws the prompts of an iteration and submits them to the engine, to be sampled from the weights that it has.

        Args:
            iteration: counts from 0; iterations begin in order.
        """
        self.begun[iteration] = self._next_prompts()
        self._submit(self.begun[iteration], self._sampling, iteration, 0)

    def __call__(self, policy: Params, iteration: int, clock: Clock) -> Samples:
        """The samples of an iteration that has begun.

        Further prompts are sampled from the weights that the engine has now.

        Args:
            policy: the newest parameters, for digit log-probs that the engine does not capture.
            iteration: counts from 0.
            clock: records a lap per part.
        """
        calls, teaches = [], []
        bound = 1 + self._algorithm.max_refills if self._algorithm.dynamic_sampling else 1
        prompts = self.begun.pop(iteration)
        while True:
            calls.append(self._scored(prompts, self._sampling, policy, iteration, clock))
            teaches.append(self._teaching(calls[-1]))
            if len(calls) == bound or np.sum(teaches) >= self._num_prompts:
                break
            prompts = self._next_prompts()
            self._submit(prompts, self._sampling, iteration, len(calls))
        found = np.concatenate(teaches)
        # Prompts that teach come first; the sort is stable, so the order is otherwise kept.
        chosen = np.argsort(~found, kind="stable")[: self._num_prompts]
        of_samples = chosen[:, None] * self._sampling.num_samples + np.arange(self._sampling.num_samples)
        scored = join_scored(calls, of_samples.ravel())
        learned = np.repeat(found[chosen], self._sampling.num_samples)
        metrics = {}
        if self._algorithm.dynamic_sampling:
            metrics = {"sampling/refills": float(len(calls) - 1), "sampling/equal_groups": float((~found).sum())}
        greedy = None
        if self._algorithm.advantage == "remax":
            responses = self._greedy(scored, policy, iteration, clock)
            scored = scored._replace(reward_errors=[*scored.reward_errors, *responses.reward_errors])
            learned &= np.repeat(responses.valid, self._sampling.num_samples)
            greedy = np.repeat(responses.scores, self._sampling.num_samples)
        return Samples(scored, learned, greedy, metrics | self._engine.metrics())

    def probe(self, iteration: int, num_prompts: int) -> list[Trajectory]:
        """Samples from the weights that the engine has now, for the first training prompts; waits for them.

        Args:
            iteration: whose number seeds the samples.
            num_prompts: most prompts.
        """
        prompts = [dataclasses.replace(p, draw=PROBE_DRAWS + p.index) for p in self._prompts[:num_prompts]]
        self._submit(prompts, self._sampling, iteration, PROBE_CALL)
        for _ in self._arrivals(prompts):
            pass
        return [trajectory for prompt in prompts for trajectory in self._arrived.pop(prompt.draw)]

    def wait(self) -> None:
        """Waits until nothing that was submitted is unfinished; what arrives is kept."""
        for group in self._engine.results():
            self._arrived[group[0].draw] = group

    def position(self) -> dict[str, Any]:
        """Where the collector stands, as JSON: the cursor, and the draws of each iteration that has begun."""
        draws = {str(iteration): [prompt.draw for prompt in prompts] for iteration, prompts in self.begun.items()}
        return {"cursor": self.cursor.state()} | ({"begun": draws} if draws else {})

    def arrived(self) -> FlatTrajectories:
        """The finished groups of iterations that have begun, as arrays with their draws; empty if there are none."""
        trajectories = [trajectory for group in self._arrived.values() for trajectory in group]
        if not trajectories:
            return {}
        return {"draws": np.array([t.draw for t in trajectories])} | flatten(trajectories)

    def restore(self, position: Mapping[str, Any], arrived: FlatTrajectories) -> None:
        """Goes on where a checkpoint was written.

        Args:
            position: from `position`.
            arrived: from `arrived`, also of a later time; what it holds of iterations that began after the position is
                left out. `resubmit` submits again what is missing in it.
        """
        self.cursor.restore(position["cursor"])
        by_index = {prompt.index: row for row, prompt in enumerate(self._prompts)}
        for iteration, draws in position.get("begun", {}).items():
            places = [divmod(draw, self._draws_per_epoch) for draw in draws]
            self.begun[int(iteration)] = [self._drawn(epoch, by_index[index]) for epoch, index in places]
        prompts = {prompt.draw: prompt for begun in self.begun.values() for prompt in begun}
        if arrived:
            draws = arrived["draws"].tolist()
            for draw, t in zip(
                draws, unflatten(arrived, [prompts.get(draw, self._prompts[0]) for draw in draws]), strict=True
            ):
                if draw in prompts:
                    self._arrived.setdefault(draw, []).append(t)
        for iteration, begun in self.begun.items():
            self._lacking[iteration] = [prompt for prompt in begun if prompt.draw not in self._arrived]

    def resubmit(self) -> None:
        """After `restore`, submits what begun iterations lack, to be sampled from the weights that the engine has."""
        for iteration, prompts in self._lacking.items():
            self._submit(prompts, self._sampling, iteration, 0)
        self._lacking.clear()

    def _next_prompts(self) -> list[Prompt]:
        epochs, rows = self.cursor.next_of_epochs()
        return [self._drawn(epoch, row) for epoch, row in zip(epochs.tolist(), rows.tolist(), strict=True)]

    def _drawn(self, epoch: int, row: int) -> Prompt:
        prompt = self._prompts[row]
        return dataclasses.replace(prompt, draw=epoch * self._draws_per_epoch + prompt.index)

    def _submit(self, prompts: Sequence[Prompt], sampling: Sampling, iteration: int, call: int) -> None:
        # numpy pads a seed with zeros: the first call has the seed of (seed, STREAM, iteration).
        seed = int(np.random.SeedSequence([self._seed, STREAM, iteration, call]).generate_state(1)[0])
        self._engine.submit([Request(prompt, sampling, seed) for prompt in prompts])

    def _arrivals(self, prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
        """Waits for the groups of these prompts; gives the prompts whose groups have arrived since the last time."""
        missing = list(prompts)
        while missing:
            if arrived := [prompt for prompt in missing if prompt.draw in self._arrived]:
                missing = [prompt for prompt in missing if prompt.draw not in self._arrived]
                yield arrived
                continue
            assert self._engine.unfinished, "a request was never submitted, or the engine lost it"
            self._arrived |= {group[0].draw: group for group in self._engine.step()}

    def _scored(
        self, prompts: Sequence[Prompt], sampling: Sampling, policy: Params, iteration: int, clock: Clock
    ) -> Scored:
        """The samples of submitted prompts: scoring begins as they arrive, while the engine samples others.

        Where the trainer's forward pass fills in digits, it waits for all, so that its rows have one shape.
        """
        temperature, tau = sampling.temperature or 1.0, reward_temperature(self._ntl, iteration)
        place = {prompt.draw: i for i, prompt in enumerate(prompts)}
        parts: list[Callable[[], Scored]] = []
        order: list[int] = []
        arrivals = self._arrivals(prompts)
        for arrived in [list(itertools.chain(*arrivals))] if self._digits.passes else arrivals:
            clock.lap("gen")
            trajectories = [trajectory for prompt in arrived for trajectory in self._arrived[prompt.draw]]
            asked = [prompt for prompt in arrived for _ in range(sampling.num_samples)]
            order += [place[prompt.draw] for prompt in asked]
            parts.append(self._scorer.begin(asked, self._digits(policy, asked, trajectories, temperature), tau))
            clock.lap("reward")
        scored = join_scored([part() for part in parts], np.argsort(order, kind="stable"))
        for prompt in prompts:  # until here they are kept: a checkpoint holds what has arrived
            del self._arrived[prompt.draw]
        clock.lap("reward")
        return scored

    def _teaching(self, scored: Scored) -> Bool[np.ndarray, "prompts"]:
        """Which prompts have samples with different rewards; all prompts without dynamic sampling."""
        if not self._algorithm.dynamic_sampling:
            return np.ones(self._num_prompts, bool)
        shape = (self._num_prompts, self._sampling.num_samples, -1)
        rewards, valid = scored.of_keys(self._algorithm.reward_keys).reshape(shape), scored.valid.reshape(shape)
        highest = np.max(rewards, axis=1, where=valid, initial=-np.inf)
        return np.any(highest > np.min(rewards, axis=1, where=valid, initial=np.inf), axis=1)

    def _greedy(self, scored: Scored, policy: Params, iteration: int, clock: Clock) -> Scored:
        """The greedy response to each prompt."""
        sampling = dataclasses.replace(self._sampling, num_samples=1, temperature=0.0)
        prompts = scored.prompts[:: self._sampling.num_samples]
        self._submit(prompts, sampling, iteration, 0)
        with contextlib.ExitStack() as failed:  # else greedy responses would pass for the samples of their draws
            failed.callback(lambda: [self._arrived.pop(prompt.draw, None) for prompt in prompts])
            scored = self._scored(prompts, sampling, policy, iteration, clock)
            failed.pop_all()
        return scored
