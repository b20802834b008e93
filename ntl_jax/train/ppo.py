# SPDX-License-Identifier: Apache-2.0
"""Proximal policy optimisation, one iteration at a time: sample, score, estimate advantages, update.

Deviations from Schulman et al., 2017 (https://arxiv.org/abs/1707.06347): the baseline is by default the mean of a
prompt's samples (GRPO) and not a critic; every token of a response has the same advantage then; the reward comes at the
last token; advantages are not whitened over the batch with the group baseline, whose scale is a group's deviation.
``old_log_probs`` are those captured while sampling: nothing recomputes them, so no update can make the ratio 1.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ntl_jax.config import RunConfig
from ntl_jax.data import DataCursor
from ntl_jax.losses import gae, group_advantages, whiten
from ntl_jax.models import Decoder, batch_sharding, shardings
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Prompt, Sampling, TrainBatch
from ntl_jax.rollout import RolloutEngine
from ntl_jax.train.batch import RowShape, pad_rows, pad_tokens, take_rows
from ntl_jax.train.digit_info import log_samples
from ntl_jax.train.extraction import captures_digits
from ntl_jax.train.objectives import NumberLoss, policy_objective, predicted_values, value_objective
from ntl_jax.train.optimizer import make_optimizer
from ntl_jax.train.reporting import iteration_figures, shown_rows
from ntl_jax.train.scoring import Scored, Scorer
from ntl_jax.train.state import TrainState, init_model_state, init_train_state
from ntl_jax.train.step import Learner, make_step

STREAM = 2  # of the run's random numbers: keeps this stage's apart from the others'


class PPOTrainer:
    """Clipped PPO on the prompts of a data set.

    Args:
        config: its ``algorithm``, ``rollout`` and ``ntl`` sections rule the stage.
        policy: graph definition and parameters, placed on the mesh.
        critic: the same of the critic, for ``algorithm.advantage=gae``; else None.
        table: number tokens of the vocabulary.
        prompts: what to ask.
        engine: samples; gets new weights after every iteration.
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
        self.cursor = DataCursor(len(prompts), rollout.prompts_per_step, seed=config.seed + STREAM)
        self.iteration = 0
        self.last_prompts: list[int] = []
        self._sampling = Sampling(
            num_samples=rollout.num_samples,
            max_tokens=rollout.max_tokens,
            temperature=rollout.temperature,
            stop_token_ids=stop_token_ids,
            stop_strings=rollout.stop_strings,
            capture_digits=captures_digits(config.ntl, table),
        )
        longest = max(len(p.ids) for p in prompts)
        self._shape = RowShape(row=longest + rollout.max_tokens, response=rollout.max_tokens)
        self._sharding = batch_sharding(mesh)
        self._graph = policy[0]
        optimizer = make_optimizer(algorithm.optimizer, config.trainer.steps * algorithm.epochs * algorithm.minibatches)
        learners = self._learners(optimizer, policy[0], None if critic is None else critic[0], table)
        self.state = init_train_state(
            init_model_state(policy[1], optimizer, mesh),
            None if critic is None else init_model_state(critic[1], optimizer, mesh),
            mesh,
        )
        max_tokens = config.trainer.max_tokens_per_micro_batch
        self._step = make_step(*learners, max_tokens, shardings(self.state, mesh))
        self._values = None
        if critic is not None:
            critic_graph = critic[0]
            self._values = jax.jit(lambda params, batch: predicted_values(nnx.merge(critic_graph, params), batch))
        self.engine.load_weights(0, self.decoder())

    def _learners(self, optimizer, policy_graph, critic_graph, table) -> tuple[Learner, Learner | None]:
        algorithm, temperature = self.config.algorithm, self.config.rollout.temperature
        ntl = self.config.ntl
        number_loss = NumberLoss(ntl.method, ntl.weight if ntl.enabled else 0.0)

        def policy(params, batch, denominators):
            decoder = nnx.merge(policy_graph, params)
            return policy_objective(decoder, batch, denominators, table, number_loss, algorithm, temperature)

        def critic(params, batch, denominators):
            return value_objective(nnx.merge(critic_graph, params), batch, denominators, algorithm)

        return Learner(policy, optimizer, "actor"), critic_graph and Learner(critic, optimizer, "critic")

    def step(self) -> tuple[dict[str, float], Scored]:
        """One iteration; returns its figures and its scored samples."""
        clock = Clock()
        prompts = [self.prompts[i] for i in self.cursor.next()]
        self.last_prompts = [p.index for p in prompts]
        seed = int(np.random.SeedSequence([self.config.seed, STREAM, self.iteration]).generate_state(1)[0])
        trajectories = self.engine.generate(prompts, self._sampling, seed=seed)
        clock.lap("gen")
        scored = self.scorer(
            prompts,
            trajectories,
            self.decoder(),
            temperature=self._sampling.temperature,
            iteration=self.iteration,
        )
        clock.lap("reward")
        batch = self._with_advantages(self._rows(scored), scored)
        clock.lap("adv")
        figures = self._update(batch)
        self.iteration += 1
        self.engine.load_weights(self.iteration, self.decoder())
        clock.lap("update_actor")
        if self.config.ntl.debug_mode:
            log_samples(scored, shown_rows(scored, self.config.trainer.samples_per_step))
        return figures | iteration_figures(scored, batch, clock.seconds, log_ntl=self.config.ntl.log_metrics), scored

    def _rows(self, scored: Scored) -> TrainBatch:
        responses = [t.response_ids for t in scored.trajectories]
        nothing = [np.full(len(r), -1, np.int32) for r in responses]
        truth = nothing if scored.labels is None else [label.prefix_truth for label in scored.labels]
        batch = pad_rows(
            [p.ids for p in scored.prompts],
            responses,
            self._shape,
            number_targets=[np.where(t >= 0, t, np.nan) for t in truth],
            keep=scored.valid,
        )
        log_probs = [t.rollout_log_probs for t in scored.trajectories]
        return batch._replace(old_log_probs=pad_tokens(log_probs, batch.mask.shape[1], 0.0, np.float32))

    def _with_advantages(self, batch: TrainBatch, scored: Scored) -> TrainBatch:
        if self._values is None:
            groups = jnp.array([t.prompt_index for t in scored.trajectories])
            per_row = group_advantages(
                jnp.asarray(scored.scores),
                groups,
                where=jnp.asarray(scored.valid),
                normalize=self.config.algorithm.normalize_groups,
            )
            per_row = np.asarray(per_row)
            return batch._replace(advantages=np.where(batch.mask, per_row[:, None], 0.0).astype(np.float32))
        assert self.state.critic is not None
        values = np.asarray(self._values(self.state.critic.params, jax.device_put(batch, self._sharding)))
        last = np.array([len(t.response_ids) - 1 for t in scored.trajectories])
        rewards = np.zeros_like(values)
        rewards[np.arange(len(last)), last] = scored.scores
        algorithm = self.config.algorithm
        mask = jnp.asarray(batch.mask)
        advantages, returns = gae(
            jnp.asarray(rewards), jnp.asarray(values), mask, gamma=algorithm.gamma, lam=algorithm.lam
        )
        advantages = whiten(advantages, mask)
        return batch._replace(advantages=np.asarray(advantages), returns=np.asarray(returns), old_values=values)

    def _update(self, batch: TrainBatch) -> dict[str, float]:
        """Epochs x minibatches of clipped updates; the first update's ratio shows whether sampler and trainer agree."""
        algorithm, num_rows = self.config.algorithm, len(batch.mask)
        rng = np.random.default_rng([self.config.seed, STREAM, self.iteration])
        parts = [
            rows
            for _ in range(algorithm.epochs)
            for rows in rng.permutation(num_rows).reshape(algorithm.minibatches, -1)
        ]
        total, first = None, None
        for rows in parts:
            self.state, figures = self._step(self.state, jax.device_put(take_rows(batch, rows), self._sharding))
            first = figures if first is None else first
            total = figures if total is None else total + figures
        assert total is not None and first is not None
        return total.to_dict() | {"actor/first_ratio_deviation": first.to_dict()["actor/ratio_deviation"]}

    def decoder(self) -> Decoder:
        """The policy as it is now."""
        return nnx.merge(self._graph, self.state.policy.params)

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs beside the state."""
        return {"cursor": self.cursor.state(), "iteration": self.iteration}

    def restore(self, state: TrainState, position: dict[str, Any]) -> None:
        """Continues where a checkpoint was written."""
        self.state, self.iteration = state, position["iteration"]
        self.cursor.restore(position["cursor"])
        self.engine.load_weights(self.iteration, self.decoder())


class Clock:
    """Seconds spent in each part of an iteration."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """The time since the last lap was spent in this part."""
        now = time.perf_counter()
        self.seconds[part], self._last = now - self._last, now
