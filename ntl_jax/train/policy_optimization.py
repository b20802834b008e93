# SPDX-License-Identifier: Apache-2.0
"""Policy optimisation, one iteration at a time: sample, score, estimate advantages, update.

Deviations of the default from Schulman et al., 2017 (https://arxiv.org/abs/1707.06347): the baseline is the mean of a
prompt's samples (GRPO) and not a critic; every token of a response has the same advantage then; the reward comes at the
last token; advantages are not whitened over the batch with the group baseline, whose scale is a group's deviation.
``old_log_probs`` are those captured while sampling. The other choices: docs/algorithms.md.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ntl_jax.config import AlgorithmSection, RunConfig
from ntl_jax.experience.builder import Experience
from ntl_jax.experience.collector import STREAM, Collector
from ntl_jax.experience.digit_source import captures_digits
from ntl_jax.experience.scorer import Scored, Scorer
from ntl_jax.losses import AdaptiveKLController, FixedKLController
from ntl_jax.metrics import Clock
from ntl_jax.metrics.sums import MetricSums
from ntl_jax.models import Decoder, batch_sharding, num_row_shards, shardings
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Prompt, Sampling, TrainBatch
from ntl_jax.rollout import RolloutEngine
from ntl_jax.rows.packing import pack, padding_fraction
from ntl_jax.rows.padding import RowShape, take_rows
from ntl_jax.train.journal.digits import log_samples
from ntl_jax.train.journal.samples import iteration_metrics, shown_rows
from ntl_jax.update.average import with_average
from ntl_jax.update.optimizer import make_optimizer, planned_updates
from ntl_jax.update.state import TrainState, init_model_state, init_train_state
from ntl_jax.update.step import Learner, make_step
from ntl_jax.update.terms import PPOTerms
from ntl_jax.update.weights import weighed


class PPOTrainer:
    """Policy optimisation on the prompts of a data set.

    Args:
        config: its ``algorithm``, ``rollout`` and ``ntl`` sections rule the stage.
        policy: graph definition and parameters, placed on the mesh.
        critic: the same of the critic, for ``algorithm.advantage=gae``; else None.
        table: number tokens of the vocabulary.
        prompts: what to ask.
        engine: samples; gets the policy's weights in every iteration.
        scorer: gives rewards.
        stop_token_ids: end a response.
        mesh: of the parameters.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        policy: tuple[nnx.GraphDef, Any],
        critic: tuple[nnx.GraphDef, Any] | None,
        table: NumberTable,
        prompts: Sequence[Prompt],
        engine: RolloutEngine,
        scorer: Scorer,
        stop_token_ids: tuple[int, ...],
        mesh: Mesh,
    ):
        algorithm, rollout = config.algorithm, config.rollout
        self.config, self.prompts, self.engine, self.scorer = config, prompts, engine, scorer
        self.iteration = 0
        self.sampling = _sampling(config, stop_token_ids, captures_digits(config.ntl, table))
        self.collect = Collector(config, prompts, engine, scorer, self.sampling)
        self._graph, self._sharding = policy[0], batch_sharding(mesh)
        self._num_shards = num_row_shards(mesh)
        self._kl = _controller(algorithm)
        terms = self._terms = PPOTerms(config, table, policy[0], critic and critic[0])
        longest = max(len(p.ids) for p in prompts)
        self.experience = Experience(
            config,
            RowShape(row=longest + rollout.max_tokens, response=rollout.max_tokens),
            graph=policy[0],
            reference=jax.tree.map(lambda x: x.copy(), policy[1]) if algorithm.kl.weight else None,
            critic=critic and critic[0],
            mesh=mesh,
        )
        self._begin(policy[1], critic and critic[1], terms, mesh)

    def _begin(self, policy: Any, critic: Any | None, terms: PPOTerms, mesh: Mesh) -> None:
        """The state, and the steps that change it."""
        algorithm, num_updates = self.config.algorithm, planned_updates(self.config)["ppo"]
        policy_optimizer = make_optimizer(algorithm.optimizer, num_updates["policy"])
        learners = {
            "policy": Learner(with_average(policy_optimizer, algorithm.optimizer.ema_decay), "actor"),
            "critic": Learner(
                make_optimizer(
                    algorithm.optimizer, num_updates.get("critic", 0), learning_rate=algorithm.critic_learning_rate
                ),
                "critic",
            ),
        }
        self.state = init_train_state(
            init_model_state(policy, learners["policy"].optimizer, mesh),
            None if critic is None else init_model_state(critic, learners["critic"].optimizer, mesh),
            mesh,
        )
        rest = learners, self.config.trainer.max_tokens_per_micro_batch, shardings(self.state, mesh)
        self._step = make_step(terms.of_update(), *rest)
        self._warmup_step = make_step(terms.of_warmup(), *rest) if algorithm.warmup_iterations else self._step

    def step(self) -> tuple[dict[str, float], Scored]:
        """One iteration; returns its metrics and its scored samples."""
        clock = Clock()
        samples = self.collect(self.decoder(), self.iteration, clock)
        params = self.state.params
        critic = self._terms.critic_params(params) if "critic" in params else None
        batch, metrics = self.experience(params["policy"], critic, samples, self._kl.beta, clock)
        metrics |= samples.metrics | self._update(batch)
        if np.isfinite(metrics.get("actor/kl", np.nan)):
            self._kl = self._kl.update(metrics["actor/kl"], len(batch.mask))
        self.iteration += 1
        clock.lap("update_actor")
        scored = samples.scored
        if self.config.ntl.debug_mode:
            log_samples(scored, shown_rows(scored, self.config.trainer.samples_per_step))
        return metrics | iteration_metrics(scored, batch, clock.seconds, log_ntl=self.config.ntl.log_metrics), scored

    def _update(self, batch: TrainBatch) -> dict[str, float]:
        """Epochs x minibatches of updates; the ratio of the first shows whether sampler and trainer agree.

        An update in which all weights are 0 is skipped: the optimizer would apply only momentum and weight decay.
        """
        algorithm, num_rows = self.config.algorithm, len(batch.mask)
        step = self._warmup_step if self.iteration < algorithm.warmup_iterations else self._step
        rng = np.random.default_rng([self.config.seed, STREAM, self.iteration])
        minibatches = [
            rows
            for _ in range(algorithm.epochs)
            for rows in rng.permutation(num_rows).reshape(algorithm.minibatches, -1)
        ]
        metrics: list[MetricSums] = []
        padding: list[float] = []
        for rows in minibatches:
            part = self._minibatch(take_rows(batch, rows))
            if not self._terms.have_weight(part):
                continue
            padding.append(padding_fraction(part))
            self.state, of_part = step(self.state, jax.device_put(part, self._sharding))
            metrics.append(of_part)
        total = {"actor/skipped_updates": float(len(minibatches) - len(metrics))}
        if metrics:
            total |= sum(metrics[1:], start=metrics[0]).to_dict() | {"perf/padding_fraction": float(np.mean(padding))}
        if "actor/ratio_deviation" in total:
            total["actor/first_ratio_deviation"] = metrics[0].to_dict()["actor/ratio_deviation"]
        return total

    def _minibatch(self, rows: TrainBatch) -> TrainBatch:
        """Rows of one update as they go through the model: weighed, and packed if so asked."""
        batch = weighed(
            rows,
            mode=self.config.algorithm.aggregation,
            scale=self.config.rollout.max_tokens,
            reference_weight=self._kl.beta,
        )
        return pack(batch, self._num_shards) if self.config.trainer.pack_sequences else batch

    @property
    def last_prompts(self) -> list[int]:
        """Indices of the prompts of the last iteration."""
        return self.collect.last_prompts

    def decoder(self) -> Decoder:
        """The policy as it is now."""
        return nnx.merge(self._graph, self.state.policy.params)

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs beside the state."""
        return {"cursor": self.collect.cursor.state(), "iteration": self.iteration, "kl_weight": self._kl.beta}

    def restore(self, state: TrainState, position: dict[str, Any]) -> None:
        """Continues where a checkpoint was written."""
        self.state, self.iteration = state, position["iteration"]
        self.collect.cursor.restore(position["cursor"])
        self._kl = dataclasses.replace(self._kl, beta=position["kl_weight"])


def _sampling(config: RunConfig, stop_token_ids: tuple[int, ...], capture_digits: bool) -> Sampling:
    rollout = config.rollout
    return Sampling(
        num_samples=rollout.num_samples,
        max_tokens=rollout.max_tokens,
        temperature=rollout.temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
        min_p=rollout.min_p,
        stop_token_ids=stop_token_ids,
        stop_strings=rollout.stop_strings,
        capture_digits=capture_digits,
    )


def _controller(algorithm: AlgorithmSection) -> FixedKLController | AdaptiveKLController:
    kl = algorithm.kl
    match kl.controller:
        case "fixed":
            return FixedKLController(kl.weight)
        case "adaptive":
            return AdaptiveKLController(kl.weight, kl.target, kl.horizon)
