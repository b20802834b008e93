# SPDX-License-Identifier: Apache-2.0
"""The supervised stage: cross entropy + Number Token Loss on reference solutions."""

import functools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Int

from ntl_jax.config import RunConfig
from ntl_jax.data import DataCursor
from ntl_jax.losses.numbers import OF_SINGLE_DIGITS
from ntl_jax.models import batch_sharding, shardings
from ntl_jax.numerals import TokenDecoder
from ntl_jax.processes.arrays import place
from ntl_jax.records import Batch, Params, Prompt, Targets, Version, Weights
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.rows.padding import RowShape, pad_rows, pad_tokens
from ntl_jax.rows.passes import predictor_states
from ntl_jax.train.policy import Policy
from ntl_jax.train.stages.stage import Stage
from ntl_jax.update.objectives import Loss, NumberLoss, supervised_objective
from ntl_jax.update.optimizer import make_optimizer, planned_updates
from ntl_jax.update.state import TrainState, init_model_state, init_train_state
from ntl_jax.update.step import Learner, Models, Term, Updated, make_step
from ntl_jax.update.token_weights import place_weights, supervised_weights

STREAM = 1  # separates this stage's random numbers from those of other stages


class SupervisedUpdate:
    """The stage's update and its batches. The program is made from shapes alone: XLA can compile it before the weights.

    Args:
        config: its ``warm_start`` section configures the stage.
        policy: the policy to train.
        solved: pairs of a prompt and its solution's ids.

    Raises:
        ValueError: for a loss of single digits where tokens hold several.
    """

    def __init__(self, config: RunConfig, policy: Policy, solved: Sequence[tuple[Prompt, np.ndarray]]):
        section, graph, self._mesh = config.warm_start, policy.graph, policy.mesh
        num_updates, decay = planned_updates(config)["warm_start"]["policy"], section.optimizer.ema_decay
        self._learner = Learner(make_optimizer(section.optimizer, num_updates), "warm_start", decay)
        if section.ntl_method in OF_SINGLE_DIGITS and policy.table.kind != "digits":
            raise ValueError(
                f"warm_start.ntl_method={section.ntl_method!r} weighs digits by their place, and this tokenizer has "
                "number tokens of several digits: choose another method, such as 'wasserstein'"
            )
        number_loss = NumberLoss(policy.table, section.ntl_method, section.ntl_weight)

        def loss(params: Models, batch: Batch[Targets]) -> Loss:
            decoder = nnx.merge(graph, params["policy"])
            hidden, num_tokens = predictor_states(decoder, batch.rows), decoder.config.num_tokens
            return supervised_objective(hidden, decoder.head(), batch.tokens, batch.weights, number_loss, num_tokens)

        self._shapes = jax.eval_shape(self.begin, policy.shapes())
        self._solved, self._token_values = solved, np.asarray(policy.table.token_values)
        decode = TokenDecoder(policy.tokenizer)
        self._place_weights = place_weights(section.ntl_method, [solution for _, solution in solved], decode)
        self._row_shape = RowShape(
            row=max(len(prompt.ids) + len(solution) for prompt, solution in solved),
            response=max(len(solution) for _, solution in solved),
        )
        source_indices = [prompt.source_index for prompt, _ in solved]
        order = {"seed": config.seed + STREAM, "source_indices": source_indices, "weights": config.data.weights}
        self._cursor = functools.partial(DataCursor, len(solved), section.batch_size, **order)
        max_tokens = config.trainer.max_tokens_per_micro_batch
        self._ahead: Future[None] | None = None
        self._step = make_step(
            [Term(("policy",), loss)], {"policy": self._learner}, max_tokens, shardings(self._shapes, self._mesh)
        )

    def begin(self, params: Params) -> TrainState:
        """The state before the first step."""
        learner, mesh = self._learner, self._mesh
        model = init_model_state(params, learner.optimizer, mesh, with_average=learner.ema_decay > 0)
        return init_train_state({"policy": model}, mesh)

    def cursor(self) -> DataCursor:
        """The order of the prompts with solutions, at its beginning."""
        return self._cursor()

    def batch(self, indices: Int[np.ndarray, "B"]) -> tuple[Batch[Targets], list[Prompt], int]:
        """The batch of some of them on the mesh, their prompts, and their number of tokens."""
        solved = [self._solved[i] for i in indices.tolist()]
        prompts, solutions = [prompt.ids for prompt, _ in solved], [solution for _, solution in solved]
        numbers = [self._token_values[ids] for ids in solutions]
        rows, targets = pad_rows(prompts, solutions, self._row_shape, numbers=numbers)
        of_places = None
        if self._place_weights is not None:
            weights = [self._place_weights[i] for i in indices.tolist()]
            of_places = pad_tokens(weights, targets.mask.shape[1], 0.0, np.float32)
        batch = place(Batch(rows, targets, supervised_weights(targets, of_places)), batch_sharding(self._mesh))
        return batch, [prompt for prompt, _ in solved], sum(map(len, prompts)) + sum(map(len, solutions))

    def __call__(self, state: TrainState, batch: Batch[Targets]) -> Updated:
        """One step; it waits for a program that is being compiled."""
        if self._ahead is not None:
            self._ahead.result()
        return self._step(state, batch)

    def compile_ahead(self, background: Executor) -> None:
        """Lets another thread compile the first step."""
        self._ahead = background.submit(self._compile)

    def _compile(self) -> None:
        def placed(x: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

        state = jax.tree.map(placed, self._shapes, shardings(self._shapes, self._mesh))
        self._step.lower(state, self.batch(self.cursor().next())[0]).compile()


class SupervisedTrainer(Stage):
    """Trains the policy on the reference solutions.

    Args:
        steps: number of steps.
        update: what a step does.
        params: the policy's weights.
    """

    name, section = "warm_start", "warm_start"

    def __init__(self, steps: int, update: SupervisedUpdate, params: Params):
        self.total, self.eval_every = steps, None
        self.state = update.begin(params)
        self._update, self._cursor = update, update.cursor()
        self._last_prompts: list[int] = []

    def step(self) -> tuple[dict[str, float], None]:
        began = time.perf_counter()
        batch, prompts, num_tokens = self._update.batch(self._cursor.next())
        self._last_prompts = [prompt.index for prompt in prompts]
        self.state, metrics, _ = self._update(self.state, batch)
        metrics = metrics.to_dict()
        seconds = time.perf_counter() - began
        return metrics | {"perf/throughput": num_tokens / seconds, "timing_s/step": seconds}, None

    @property
    def last_prompts(self) -> Sequence[int]:
        return self._last_prompts

    def weights(self) -> Weights:
        """The weights that policy optimization starts with, version 0; earlier weights have negative versions."""
        return Weights(Version(int(self.state.step) - self.total), self.state.policy.result)

    def position(self) -> dict[str, Any]:
        return {"cursor": self._cursor.state()}

    def wait(self) -> None:
        """Does nothing: the stage samples nothing."""

    def arrived(self) -> FlatTrajectories:
        return {}

    def restore(self, state: TrainState, position: Mapping[str, Any], arrived: FlatTrajectories) -> None:
        self.state = state
        self._cursor.restore(position["cursor"])
