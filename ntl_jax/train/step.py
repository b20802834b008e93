# SPDX-License-Identifier: Apache-2.0
"""One update as a pure, jitted function (state, batch) -> (state, figures)."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

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
        new_policy, figures, finite = _update(policy, state.policy, batch, parts)
        new_critic = state.critic
        if critic is not None and state.critic is not None:
            new_critic, critic_figures, critic_finite = _update(critic, state.critic, batch, parts)
            figures = Figures(figures.means | critic_figures.means, figures.maxima | critic_figures.maxima)
            finite = finite & critic_finite
        new_state = TrainState(state.step + 1, new_policy, new_critic)
        state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new_state, state)
        return state, Figures(figures.means, figures.maxima | {"non_finite": 1.0 - finite})

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


def _update(
    learner: Learner, model: ModelState, batch: TrainBatch, parts: int
) -> tuple[ModelState, Figures, Bool[Array, ""]]:
    grads, figures = _accumulated_gradients(learner.objective, model.params, batch, parts)
    grad_norm = optax.tree.norm(grads)
    updates, opt_state = learner.optimizer.update(grads, model.opt_state, model.params)
    params = optax.apply_updates(model.params, updates)
    norms = {"grad_norm": grad_norm, "param_norm": optax.tree.norm(params), "update_norm": optax.tree.norm(updates)}
    means = {f"{learner.group}/{name}": Mean(norm, jnp.float32(1.0)) for name, norm in norms.items()}
    finite = jnp.isfinite(grad_norm) & jnp.all(jnp.array([jnp.isfinite(m.total) for m in figures.means.values()]))
    return ModelState(params, opt_state), Figures(figures.means | means, figures.maxima), finite


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
