# SPDX-License-Identifier: Apache-2.0
"""One update as a pure, jitted function (state, batch) -> (state, figures)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ntl_jax.records import TrainBatch
from ntl_jax.train.figures import Figures, Mean
from ntl_jax.train.objectives import Denominators
from ntl_jax.train.state import ModelState, TrainState

Objective = Callable[..., tuple[Array, Figures]]
"""(params, batch, denominators) -> (loss, figures)."""


@dataclasses.dataclass(frozen=True)
class Learner:
    """What one model of the state minimises, with what, and the group its norms are reported in."""

    objective: Objective
    optimizer: optax.GradientTransformation
    group: str


def make_step(policy: Learner, critic: Learner | None, max_tokens_per_micro_batch: int, state_sharding: TrainState):
    """The jitted update of a stage; the state is donated and stays where it lies.

    A step whose loss or gradient is not finite returns the old state, with ``non_finite = 1`` among the figures'
    maxima: the host stops the run.

    Args:
        policy, critic: learners of the state's models.
        max_tokens_per_micro_batch: rows go through in the fewest equal parts of at most this many padded tokens.
        state_sharding: of every leaf of the state.
    """

    def step(state: TrainState, batch: TrainBatch) -> tuple[TrainState, Figures]:
        num_rows, row_size = batch.tokens.shape
        parts = num_micro_batches(num_rows, row_size, max_tokens_per_micro_batch)
        policy_grads, figures = _gradients(policy, state.policy, batch, parts)
        critic_grads, critic_figures = _gradients(critic, state.critic, batch, parts)
        means = figures.means | critic_figures.means
        finite = jnp.all(jnp.array([jnp.isfinite(mean.total) for mean in means.values()]))

        def update(state: TrainState) -> tuple[TrainState, dict[str, Mean]]:
            new_policy, norms = _updated(policy, state.policy, policy_grads)
            new_critic, critic_norms = _updated(critic, state.critic, critic_grads)
            return TrainState(state.step + 1, new_policy, new_critic), norms | critic_norms

        def keep(state: TrainState) -> tuple[TrainState, dict[str, Mean]]:
            unknown = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(update, state)[1])
            return state, unknown

        # A branch and not a choice between two states: that would read and write every moment once more.
        state, norms = jax.lax.cond(finite, update, keep, state)
        maxima = figures.maxima | critic_figures.maxima | {"non_finite": 1.0 - finite}
        return state, Figures(means | norms, maxima)

    return jax.jit(step, donate_argnums=0, out_shardings=(state_sharding, None))


def num_micro_batches(num_rows: int, row_size: int, max_tokens: int) -> int:
    """The fewest equal parts of the rows that hold at most ``max_tokens`` padded tokens each, or single rows.

    Example:
        >>> num_micro_batches(128, 96, 16384), num_micro_batches(64, 512, 16384), num_micro_batches(2, 512, 100)
        (1, 2, 2)
    """
    fits = (
        parts
        for parts in range(1, num_rows + 1)
        if num_rows % parts == 0 and num_rows // parts * row_size <= max_tokens
    )
    return next(fits, num_rows)


def _gradients(learner: Learner | None, model: ModelState | None, batch: TrainBatch, parts: int) -> tuple[Any, Figures]:
    """Gradients, and figures with their norm; nothing where there is no such model."""
    if learner is None or model is None:
        return None, Figures({}, {})
    grads, figures = _accumulated_gradients(learner.objective, model.params, batch, parts)
    return grads, Figures(figures.means | _norms(learner, {"grad_norm": grads}), figures.maxima)


def _updated(learner: Learner | None, model: ModelState | None, grads: Any) -> tuple[Any, dict[str, Mean]]:
    """The model after the optimizer's update, and the norms of both."""
    if learner is None or model is None:
        return model, {}
    updates, opt_state = learner.optimizer.update(grads, model.opt_state, model.params)
    params = optax.apply_updates(model.params, updates)
    return ModelState(params, opt_state), _norms(learner, {"param_norm": params, "update_norm": updates})


def _norms(learner: Learner, trees: dict[str, Any]) -> dict[str, Mean]:
    return {f"{learner.group}/{name}": Mean(optax.tree.norm(tree), jnp.float32(1.0)) for name, tree in trees.items()}


def _accumulated_gradients(objective: Objective, params, batch: TrainBatch, parts: int):
    """Gradients and figures of the whole batch, summed over its parts."""
    denominators = Denominators.of(batch)

    def of_part(part: TrainBatch):
        return jax.grad(objective, has_aux=True)(params, part, denominators)

    if parts == 1:
        return of_part(batch)
    rows = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of_part, jax.tree.map(lambda x: x[0], rows))
    )
    return jax.lax.scan(lambda total, part: (_add(total, of_part(part)), None), zeros, rows)[0]


def _add(total, part):
    grads = jax.tree.map(jnp.add, total[0], part[0])
    return grads, total[1] + part[1]
