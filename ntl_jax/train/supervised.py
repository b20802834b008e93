# SPDX-License-Identifier: Apache-2.0
"""The supervised stage: cross entropy + Number Token Loss on reference solutions."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ntl_jax.config import RunConfig
from ntl_jax.data import DataCursor
from ntl_jax.losses import token_weights
from ntl_jax.models import Decoder, batch_sharding, shardings
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Prompt
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import predictor_states
from ntl_jax.update.average import with_average
from ntl_jax.update.objectives import NumberLoss, supervised_objective
from ntl_jax.update.optimizer import make_optimizer, planned_updates
from ntl_jax.update.state import TrainState, init_model_state, init_train_state
from ntl_jax.update.step import Learner, Term, make_step
from ntl_jax.update.weights import has_number

STREAM = 1  # of the run's random numbers: keeps this stage's apart from the others'


class SupervisedTrainer:
    """Teaches the policy the reference solutions.

    Args:
        config: its ``warm_start`` section rules the stage.
        graph, params: the policy, placed on the mesh.
        table: number tokens of the vocabulary.
        examples: pairs of a prompt and its solution's ids.
        mesh: of the parameters.
    """

    def __init__(
        self,
        config: RunConfig,
        graph: nnx.GraphDef,
        params: Any,
        table: NumberTable,
        examples: Sequence[tuple[Prompt, np.ndarray]],
        mesh: Mesh,
    ):
        section = config.warm_start
        num_updates = planned_updates(config)["warm_start"]["policy"]
        optimizer = with_average(make_optimizer(section.optimizer, num_updates), section.optimizer.ema_decay)
        number_loss = NumberLoss(table, section.ntl_method, section.ntl_weight)

        def loss(params, batch):
            decoder = nnx.merge(graph, params["policy"])
            hidden, num_tokens = predictor_states(decoder, batch), decoder.config.num_tokens
            return supervised_objective(hidden, decoder.head(), batch, number_loss, num_tokens)

        self.graph = graph
        self.state = init_train_state(init_model_state(params, optimizer, mesh), None, mesh)
        self.cursor = DataCursor(len(examples), section.batch_size, seed=config.seed + STREAM)
        self.last_prompts: list[int] = []
        self._examples = examples
        self._token_values = np.asarray(table.token_values)
        self._shape = RowShape(
            row=max(len(prompt.ids) + len(solution) for prompt, solution in examples),
            response=max(len(solution) for _, solution in examples),
        )
        self._sharding = batch_sharding(mesh)
        self._step = make_step(
            [Term(("policy",), loss)],
            {"policy": Learner(optimizer, "warm_start")},
            config.trainer.max_tokens_per_micro_batch,
            shardings(self.state, mesh),
        )

    def step(self) -> tuple[dict[str, float], None]:
        """One update; returns its metrics (and no samples)."""
        began = time.perf_counter()
        rows = [self._examples[i] for i in self.cursor.next()]
        self.last_prompts = [prompt.index for prompt, _ in rows]
        solutions = [solution for _, solution in rows]
        batch = pad_rows(
            [prompt.ids for prompt, _ in rows],
            solutions,
            self._shape,
            number_targets=[self._token_values[ids] for ids in solutions],
        )
        batch = batch._replace(
            weights=np.asarray(token_weights(batch.mask)), number_weights=np.asarray(token_weights(has_number(batch)))
        )
        self.state, metrics = self._step(self.state, jax.device_put(batch, self._sharding))
        metrics = metrics.to_dict()
        seconds = time.perf_counter() - began
        num_tokens = sum(len(prompt.ids) + len(solution) for prompt, solution in rows)
        return metrics | {"perf/throughput": num_tokens / seconds, "timing_s/step": seconds}, None

    def decoder(self) -> Decoder:
        """The policy as it is now."""
        return nnx.merge(self.graph, self.state.policy.params)

    def position(self) -> dict[str, Any]:
        """What a checkpoint needs beside the state."""
        return {"cursor": self.cursor.state()}

    def restore(self, state: TrainState, position: dict[str, Any]) -> None:
        """Continues where a checkpoint was written."""
        self.state = state
        self.cursor.restore(position["cursor"])
