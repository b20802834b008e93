# SPDX-License-Identifier: Apache-2.0
"""The scored samples of an iteration: one engine call, or several until enough prompts teach (dynamic sampling)."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ntl_jax.config import RunConfig
from ntl_jax.data import DataCursor
from ntl_jax.experience.digits.source import DigitSource
from ntl_jax.experience.scored import Scored, join_scored
from ntl_jax.experience.scorer import Scorer, reward_temperature
from ntl_jax.metrics import Clock
from ntl_jax.records import Params, Prompt, Sampling
from ntl_jax.rollout import RolloutEngine

STREAM = 2  # separates this stage's random numbers from those of other stages


class Samples(NamedTuple):
    """What an iteration learns from.

    Args:
        scored: the same number of samples for each prompt.
        learned: samples that the update may use.
        greedy_scores: reward of the greedy response to each sample's prompt, for remax.
        metrics: metrics of the sampling.
    """

    scored: Scored
    learned: Bool[np.ndarray, "B"]
    greedy_scores: Float[np.ndarray, "B"] | None
    metrics: dict[str, float]


class Collector:
    """Draws prompts, samples responses and scores them.

    Dynamic sampling drops prompts whose samples all score the same, and draws others: Yu et al., "DAPO", section 3.2,
    https://arxiv.org/abs/2503.14476. Here the number of draws is bounded and the shape of an iteration is fixed: if too
    few prompts teach, others fill the iteration and are left out of the update.

    Args:
        config: its ``algorithm``, ``ntl``, ``rollout`` and ``seed``.
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
        self.cursor = DataCursor(len(prompts), self._num_prompts, seed=config.seed + STREAM)

    def __call__(self, policy: Params, iteration: int, clock: Clock) -> Samples:
        """The samples of an iteration, sampled with the weights lent to the engine.

        Args:
            policy: the parameters that sample.
            iteration: counts from 0.
            clock: records a lap per part.
        """
        calls, teaches = [], []
        bound = 1 + self._algorithm.max_refills if self._algorithm.dynamic_sampling else 1
        while len(calls) < bound and np.sum(teaches) < self._num_prompts:
            calls.append(self._next_prompts(policy, iteration, len(calls), clock))
            teaches.append(self._teaching(calls[-1]))
        found = np.concatenate(teaches)
        # Prompts that teach come first; the sort is stable, so the order is otherwise kept.
        chosen = np.argsort(~found, kind="stable")[: self._num_prompts]
        of_samples = chosen[:, None] * self._sampling.num_samples + np.arange(self._sampling.num_samples)
        scored = calls[0] if len(calls) == 1 and found.all() else join_scored(calls, of_samples.ravel())
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
        return Samples(scored, learned, greedy, metrics)

    def _next_prompts(self, policy: Params, iteration: int, refill: int, clock: Clock) -> Scored:
        epochs, rows = self.cursor.next_of_epochs()
        prompts = [self._drawn(epoch, row) for epoch, row in zip(epochs.tolist(), rows.tolist(), strict=True)]
        return self._scored(prompts, self._sampling, policy, iteration, refill, clock)

    def _drawn(self, epoch: int, row: int) -> Prompt:
        prompt = self._prompts[row]
        return dataclasses.replace(prompt, draw=epoch * self._draws_per_epoch + prompt.index)

    def _scored(
        self, prompts: Sequence[Prompt], sampling: Sampling, policy: Params, iteration: int, call: int, clock: Clock
    ) -> Scored:
        # numpy pads a seed with zeros: the first call has the seed of (seed, STREAM, iteration).
        seed = int(np.random.SeedSequence([self._seed, STREAM, iteration, call]).generate_state(1)[0])
        trajectories = self._engine.generate(prompts, sampling, seed=seed)
        clock.lap("gen")
        asked = [prompt for prompt in prompts for _ in range(sampling.num_samples)]
        trajectories = self._digits(policy, asked, trajectories, sampling.temperature or 1.0)
        scored = self._scorer(asked, trajectories, reward_temperature(self._ntl, iteration))
        clock.lap("reward")
        return scored

    def _teaching(self, scored: Scored) -> Bool[np.ndarray, "prompts"]:
        """Which prompts have samples with different scores; all prompts without dynamic sampling."""
        if not self._algorithm.dynamic_sampling:
            return np.ones(self._num_prompts, bool)
        scores, valid = (x.reshape(self._num_prompts, -1) for x in (scored.scores, scored.valid))
        return np.max(scores, axis=1, where=valid, initial=-np.inf) > np.min(
            scores, axis=1, where=valid, initial=np.inf
        )

    def _greedy(self, scored: Scored, policy: Params, iteration: int, clock: Clock) -> Scored:
        """The greedy response to each prompt."""
        sampling = dataclasses.replace(self._sampling, num_samples=1, temperature=0.0)
        return self._scored(scored.prompts[:: self._sampling.num_samples], sampling, policy, iteration, 0, clock)
