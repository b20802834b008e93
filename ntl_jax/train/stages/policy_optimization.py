# SPDX-License-Identifier: Apache-2.0
"""Policy optimization, one iteration at a time: sample, score, estimate advantages, update.

The defaults deviate from Schulman et al., 2017 (https://arxiv.org/abs/1707.06347): the baseline is the mean of a
prompt's samples (GRPO), not a critic, so every token of a response has the same advantage; the reward comes at the last
token; advantages are divided by the group's standard deviation, not whitened over the batch. ``old_log_probs`` are
captured while sampling. Other settings: docs/algorithms.md.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ntl_jax.config import AlgorithmSection, RunConfig
from ntl_jax.experience.builder import ExperienceBuilder
from ntl_jax.experience.collector import STREAM
from ntl_jax.experience.scorer import Scorer
from ntl_jax.losses import AdaptiveKLController, FixedKLController
from ntl_jax.metrics import Clock, MetricSums
from ntl_jax.models import batch_sharding, num_row_shards, shardings
from ntl_jax.processes.arrays import place
from ntl_jax.records import AnyRows, Batch, Experience, Params, Version, Weights
from ntl_jax.rollout import RolloutEngine
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.rows.layout import Layout
from ntl_jax.rows.packing import pack, padding_fraction
from ntl_jax.rows.passes import take_rows
from ntl_jax.train.journal.digits import log_samples
from ntl_jax.train.journal.iteration_metrics import iteration_metrics
from ntl_jax.train.journal.step_samples import StepSamples
from ntl_jax.train.mismatch.observatory import Observatory
from ntl_jax.train.policy import Policy
from ntl_jax.train.stages.sample_source import SampleSource
from ntl_jax.train.stages.stage import Stage
from ntl_jax.update.optimizer import make_optimizer, planned_updates
from ntl_jax.update.state import TrainState, init_model_state, init_train_state
from ntl_jax.update.step import Learner, make_step
from ntl_jax.update.terms import PPOTerms
from ntl_jax.update.token_weights import policy_weights


class PPOTrainer(Stage):
    """Policy optimization on the prompts of a data set.

    Args:
        config: its ``algorithm``, ``rollout`` and ``ntl`` sections configure the stage.
        policy, params: the policy and its weights.
        critic: parameters of the critic, for ``algorithm.advantage=gae``; else None.
        terms: the losses of an update.
        source: provides the samples.
        builder: builds experience from the samples.
        layout: layout of the rows that the builder builds.
        engine: the rollout engine; no update runs while weights are lent to it.
        scorer: scores the samples.
        observatory: compares sampler and trainer; None: they are not compared.
    """

    name, section = "ppo", "algorithm"

    def __init__(
        self,
        config: RunConfig,
        policy: Policy,
        params: Params,
        *,
        critic: Params | None,
        terms: PPOTerms,
        source: SampleSource,
        builder: ExperienceBuilder,
        layout: Layout,
        engine: RolloutEngine,
        scorer: Scorer,
        observatory: Observatory | None = None,
    ):
        self.config, self.policy, self.engine, self._scorer = config, policy, engine, scorer
        self.iteration = 0
        self.total, self.eval_every = config.trainer.steps, config.trainer.eval_every
        self._source, self._build, self._layout, self._terms = source, builder, layout, terms
        self._observatory = observatory
        self._sharding, self._num_shards = batch_sharding(policy.mesh), num_row_shards(policy.mesh)
        self._kl = _controller(config.algorithm)
        self._last_prompts: list[int] = []
        self._begin({"policy": params} if critic is None else {"policy": params, "critic": critic})

    def _begin(self, params: Mapping[str, Params]) -> None:
        """Creates the state and the jitted steps that change it."""
        algorithm, mesh, learners = self.config.algorithm, self.policy.mesh, learners_of(self.config, params)
        models = {
            name: init_model_state(params[name], learner.optimizer, mesh, with_average=learner.ema_decay > 0)
            for name, learner in learners.items()
        }
        self.state = init_train_state(models, mesh)
        rest = learners, self.config.trainer.max_tokens_per_micro_batch, shardings(self.state, mesh)
        self._step = make_step(self._terms.of_update(), *rest, per_token=self._observatory is not None)
        self._warmup_step = make_step(self._terms.of_warmup(), *rest) if algorithm.warmup_iterations else self._step

    def close(self) -> None:
        """Ends the rollout engine and the reward function's processes; a run ends its own."""
        self.engine.close()
        self._scorer.close()

    def step(self) -> tuple[dict[str, float], StepSamples]:
        """One iteration; returns its metrics and its samples."""
        clock, params = Clock(), self.state.params
        samples = self._source.samples(self.iteration, params["policy"], clock)
        scored, num_samples = samples.scored, self.config.rollout.num_samples
        self._last_prompts = [prompt.index for prompt in scored.prompts[::num_samples]]
        critic = self._terms.critic_params(params) if "critic" in params else None
        rows, experience, metrics = self._build(params["policy"], critic, samples, self._kl.beta, clock)
        if self._observatory is not None:
            self._observatory.begin(self.iteration, params["policy"], samples, experience)
            clock.lap("divergence")
        metrics |= samples.metrics | self._update(rows, experience)
        if np.isfinite(metrics.get("actor/kl", np.nan)):
            self._kl = self._kl.update(metrics["actor/kl"], len(experience.mask))
        self.iteration += 1
        clock.lap("update_actor")
        actor = None
        if self._observatory is not None:
            metrics = self._observatory.end() | metrics
            if self.config.trainer.logged_prompts != 0:
                actor = self._observatory.readings()
            clock.lap("divergence")
        of_step = StepSamples(scored, np.asarray(experience.advantages), actor)
        if self.config.ntl.debug_mode:
            log_samples(scored, [row for rows in of_step.logged(self.config.trainer.logged_prompts) for row in rows])
        log_ntl = self.config.ntl.log_metrics
        return metrics | iteration_metrics(scored, experience, clock.seconds, log_ntl=log_ntl), of_step

    def _update(self, rows: AnyRows, experience: Experience) -> dict[str, float]:
        """Epochs x minibatches updates; the first update's ratio shows whether sampler and trainer agree.

        Samples that can share a row are dealt together, so that minibatches are the same in every layout.
        An update in which all weights are 0 is skipped: the optimizer would apply only momentum and weight decay.
        """
        assert not self.engine.lent, "an update takes the memory of the weights: retract them first"
        algorithm, num_parts = self.config.algorithm, len(experience.mask) // self._layout.samples_per_row
        step = self._warmup_step if self.iteration < algorithm.warmup_iterations else self._step
        rng = np.random.default_rng([self.config.seed, STREAM, self.iteration])
        minibatches = [
            chosen
            for _ in range(algorithm.epochs)
            for chosen in rng.permutation(num_parts).reshape(algorithm.minibatches, -1)
        ]
        metrics: list[MetricSums] = []
        padding: list[float] = []
        for chosen in minibatches:
            unpacked = self._minibatch(*take_rows((rows, experience), chosen, num_parts))
            batch = pack(unpacked, self._num_shards) if self._layout.kind == "packed" else unpacked
            if not self._terms.have_weight(batch):
                continue
            padding.append(padding_fraction(batch.rows))
            placed = place(batch, self._sharding)
            self.state, of_update, tokens = step(self.state, placed)
            if self._observatory is not None and not metrics:
                samples = take_rows(np.arange(len(experience.mask)), chosen, num_parts)
                self._observatory.first_update(samples, placed, unpacked, tokens)
            metrics.append(of_update)
        total = {"actor/skipped_updates": float(len(minibatches) - len(metrics))}
        if metrics:
            total |= sum(metrics[1:], start=metrics[0]).to_dict() | {"perf/padding_fraction": float(np.mean(padding))}
        if "actor/ratio_deviation" in total:
            total["actor/first_ratio_deviation"] = metrics[0].to_dict()["actor/ratio_deviation"]
        return total

    def _minibatch(self, rows: AnyRows, experience: Experience) -> Batch[Experience]:
        """The batch of one update: rows with weights, not packed."""
        config = self.config
        settings = {"mode": config.algorithm.aggregation, "scale": config.rollout.max_tokens}
        weights = policy_weights(experience, **settings, reference_weight=self._kl.beta)
        return Batch(rows, experience, weights)

    @property
    def last_prompts(self) -> Sequence[int]:
        return self._last_prompts

    def weights(self) -> Weights:
        kind = "newest" if self.state.policy.average is None else "average"
        return Weights(Version(self.iteration, kind), self.state.policy.result)

    def position(self) -> dict[str, Any]:
        return self._source.position() | {"iteration": self.iteration, "kl_weight": self._kl.beta}

    def wait(self) -> None:
        self._source.wait()

    def arrived(self) -> FlatTrajectories:
        return self._source.arrived()

    def restore(self, state: TrainState, position: Mapping[str, Any], arrived: FlatTrajectories) -> None:
        self.state, self.iteration = state, position["iteration"]
        self._source.restore(position, arrived)
        self._kl = dataclasses.replace(self._kl, beta=position["kl_weight"])


def learners_of(config: RunConfig, models: Iterable[str]) -> dict[str, Learner]:
    """The learners of models, by name: policy, critic.

    Args:
        config: its ``algorithm`` section, and ``trainer.steps``.
        models: the names.

    Example:
        >>> {name: learner.group for name, learner in learners_of(RunConfig(), ["policy"]).items()}
        {'policy': 'actor'}
    """
    optimizer, updates = config.algorithm.optimizer, planned_updates(config)["ppo"]
    groups, decays = {"policy": "actor", "critic": "critic"}, {"policy": optimizer.ema_decay}
    rates = {"critic": config.algorithm.critic_learning_rate}
    return {
        name: Learner(
            make_optimizer(optimizer, updates[name], learning_rate=rates.get(name)), groups[name], decays.get(name, 0.0)
        )
        for name in models
    }


def _controller(algorithm: AlgorithmSection) -> FixedKLController | AdaptiveKLController:
    kl = algorithm.kl
    match kl.controller:
        case "fixed":
            return FixedKLController(kl.weight)
        case "adaptive":
            return AdaptiveKLController(kl.weight, kl.target, kl.horizon)
