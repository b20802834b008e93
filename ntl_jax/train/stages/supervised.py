# SPDX-License-Identifier: Apache-2.0
"""The supervised stage: cross entropy + Number Token Loss on reference solutions."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from ntl_jax.config import RunConfig
from ntl_jax.data import DataCursor
from ntl_jax.models import batch_sharding, shardings
from ntl_jax.records import Batch, Params, Prompt, Targets, Version, Weights
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import predictor_states
from ntl_jax.train.policy import Policy
from ntl_jax.train.stages.stage import Stage
from ntl_jax.update.objectives import Loss, NumberLoss, supervised_objective
from ntl_jax.update.optimizer import make_optimizer, planned_updates
from ntl_jax.update.state import TrainState, init_model_state, init_train_state
from ntl_jax.update.step import Learner, Models, Term, make_step
from ntl_jax.update.token_weights import supervised_weights

STREAM = 1  # separates this stage's random numbers from those of other stages


class SupervisedTrainer(Stage):
    """Trains the policy on the reference solutions.

    Args:
        config: its ``warm_start`` section configures the stage.
        policy, params: the policy and its weights.
        examples: pairs of a prompt and its solution's ids.
    """

    name, section = "warm_start", "warm_start"

    def __init__(
        self, config: RunConfig, policy: Policy, params: Params, examples: Sequence[tuple[Prompt, np.ndarray]]
    ):
        section, mesh, graph = config.warm_start, policy.mesh, policy.graph
        num_updates, decay = planned_updates(config)["warm_start"]["policy"], section.optimizer.ema_decay
        learner = Learner(make_optimizer(section.optimizer, num_updates), "warm_start", decay)
        number_loss = NumberLoss(policy.table, section.ntl_method, section.ntl_weight)

        def loss(params: Models, batch: Batch[Targets]) -> Loss:
            decoder = nnx.merge(graph, params["policy"])
            hidden, num_tokens = predictor_states(decoder, batch.rows), decoder.config.num_tokens
            return supervised_objective(hidden, decoder.head(), batch.tokens, batch.weights, number_loss, num_tokens)

        self.total, self.eval_every = section.steps, None
        model = init_model_state(params, learner.optimizer, mesh, with_average=decay > 0)
        self.state = init_train_state({"policy": model}, mesh)
        self._cursor = DataCursor(len(examples), section.batch_size, seed=config.seed + STREAM)
        self._last_prompts: list[int] = []
        self._examples, self._token_values = examples, np.asarray(policy.table.token_values)
        self._shape = RowShape(
            row=max(len(prompt.ids) + len(solution) for prompt, solution in examples),
            response=max(len(solution) for _, solution in examples),
        )
        self._sharding = batch_sharding(mesh)
        max_tokens = config.trainer.max_tokens_per_micro_batch
        terms = [Term(("policy",), loss)]
        self._step = make_step(terms, {"policy": learner}, max_tokens, shardings(self.state, mesh))

    def step(self) -> tuple[dict[str, float], None]:
        began = time.perf_counter()
        examples = [self._examples[i] for i in self._cursor.next()]
        self._last_prompts = [prompt.index for prompt, _ in examples]
        prompts, solutions = [prompt.ids for prompt, _ in examples], [solution for _, solution in examples]
        numbers = [self._token_values[ids] for ids in solutions]
        rows, targets = pad_rows(prompts, solutions, self._shape, numbers=numbers)
        batch = Batch(rows, targets, supervised_weights(targets))
        self.state, metrics, _ = self._step(self.state, jax.device_put(batch, self._sharding))
        metrics = metrics.to_dict()
        seconds = time.perf_counter() - began
        num_tokens = sum(map(len, prompts)) + sum(map(len, solutions))
        return metrics | {"perf/throughput": num_tokens / seconds, "timing_s/step": seconds}, None

    @property
    def last_prompts(self) -> Sequence[int]:
        return self._last_prompts

    def weights(self) -> Weights:
        """The weights that policy optimization starts with, version 0; earlier weights have negative versions."""
        return Weights(Version(int(self.state.step) - self.total), self.state.policy.result)

    def position(self) -> dict[str, Any]:
        return {"cursor": self._cursor.state()}

    def restore(self, state: TrainState, position: Mapping[str, Any]) -> None:
        self.state = state
        self._cursor.restore(position["cursor"])
