# SPDX-License-Identifier: Apache-2.0
"""One update as a pure, jitted function (state, batch) -> (state, metrics)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ntl_jax.metrics.sums import Mean, MetricSums
from ntl_jax.models import num_row_shards
from ntl_jax.records import TrainBatch
from ntl_jax.rows.micro_batches import micro_batches
from ntl_jax.update.state import ModelState, TrainState

Params = Mapping[str, Any]
"""Parameters of the state's models, by name: policy, critic."""


class Term(NamedTuple):
    """A loss, and the models that it teaches: the others' parameters are constants to it.

    Args:
        models: names of them.
        loss: (parameters of all models, batch) -> (loss, metrics).
    """

    models: tuple[str, ...]
    loss: Callable[[Params, TrainBatch], tuple[Array, MetricSums]]


class Learner(NamedTuple):
    """With what a model learns, and the group its norms are reported in."""

    optimizer: optax.GradientTransformation
    group: str


def make_step(
    terms: Sequence[Term],
    learners: Mapping[str, Learner],
    max_tokens_per_micro_batch: int,
    state_sharding: TrainState,
):
    """The jitted update of a stage; the state is donated and stays where it lies.

    A step whose loss or gradient is not finite returns the old state, with ``non_finite = 1`` among the metrics'
    maxima: the host stops the run. Other metrics may overflow and are reported as inf or NaN.

    Args:
        terms: losses; each model is taught by one of them at most, and stays as it is without.
        learners: by model.
        max_tokens_per_micro_batch: rows go through in the fewest equal parts of at most this many padded tokens.
        state_sharding: of every leaf of the state.
    """
    mesh = jax.tree.leaves(state_sharding)[0].mesh

    def step(state: TrainState, batch: TrainBatch) -> tuple[TrainState, MetricSums]:
        num_rows, row_size = batch.tokens.shape
        parts = micro_batches(num_rows, row_size, max_tokens_per_micro_batch, num_row_shards(mesh))
        grads, metrics, checked = {}, MetricSums({}, {}), []
        for term in terms:
            loss, term_grads, of_term, noise = _accumulated_gradients(term, state.params, batch, parts)
            norms = {f"{learners[name].group}/grad_norm": _norm(term_grads[name]) for name in term.models}
            of_whole = {"loss": Mean(loss, jnp.float32(1.0)), **noise}
            whole = {f"{learners[term.models[0]].group}/{name}": mean for name, mean in of_whole.items()}
            metrics = MetricSums(metrics.means | of_term.means | norms | whole, metrics.maxima | of_term.maxima)
            grads |= term_grads
            checked += [loss, *(norm.total for norm in norms.values())]
        finite = jnp.all(jnp.isfinite(jnp.array(checked)))

        def update(state: TrainState) -> tuple[TrainState, dict[str, Mean]]:
            models, norms = {}, {}
            for name in grads:
                models[name], of_model = _updated(learners[name], getattr(state, name), grads[name])
                norms |= of_model
            return dataclasses.replace(state, step=state.step + 1, **models), norms

        def keep(state: TrainState) -> tuple[TrainState, dict[str, Mean]]:
            unknown = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(update, state)[1])
            return state, unknown

        # A branch and not a choice between two states: that would read and write every moment once more.
        state, norms = jax.lax.cond(finite, update, keep, state)
        return state, MetricSums(metrics.means | norms, metrics.maxima | {"non_finite": 1.0 - finite})

    jitted = jax.jit(step, donate_argnums=0, out_shardings=(state_sharding, None))

    def on_mesh(state: TrainState, batch: TrainBatch) -> tuple[TrainState, MetricSums]:
        with jax.set_mesh(mesh):  # activations are placed too, not only what goes in and out
            return jitted(state, batch)

    return on_mesh


def _updated(learner: Learner, model: ModelState, grads: Any) -> tuple[ModelState, dict[str, Mean]]:
    """The model after the optimizer's update, and the norms of both."""
    updates, opt_state = learner.optimizer.update(grads, model.opt_state, model.params)
    params = optax.apply_updates(model.params, updates)
    norms = {"param_norm": _norm(params), "update_norm": _norm(updates)}
    return ModelState(params, opt_state), {f"{learner.group}/{name}": norm for name, norm in norms.items()}


def _norm(tree: Any) -> Mean:
    return Mean(optax.tree.norm(tree), jnp.float32(1.0))


def _accumulated_gradients(term: Term, params: Params, batch: TrainBatch, parts: tuple[int, int]):
    """Loss, gradients by model and metrics of the whole batch, summed over its parts, and its gradient noise."""
    num_parts, size = parts

    def of_part(part: TrainBatch):
        def loss(taught: Params):
            return term.loss({**params, **taught}, part)

        return jax.value_and_grad(loss, has_aux=True)({name: params[name] for name in term.models})

    if num_parts == 1:
        (loss, metrics), grads = of_part(batch)
        return loss, grads, metrics, {}

    def add_part(total, part):
        ((loss, metrics), grads), squares = total
        (loss_of_part, metrics_of_part), grads_of_part = of_part(part)
        sums = (loss + loss_of_part, metrics + metrics_of_part), jax.tree.map(jnp.add, grads, grads_of_part)
        return (sums, squares + _squared_norm(grads_of_part)), None

    def deal(x: Array) -> Array:
        # Like cards and not cut like a deck, so that every device has a share of every part. Rows of zeros fill up the
        # parts: they have no token that counts.
        filled = jnp.pad(x, [(0, num_parts * size - len(x)), *[(0, 0)] * (x.ndim - 1)])
        return filled.reshape(size, num_parts, *x.shape[1:]).swapaxes(0, 1)

    rows = jax.tree.map(deal, batch)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of_part, jax.tree.map(lambda x: x[0], rows))
    )
    (((loss, metrics), grads), squares), _ = jax.lax.scan(add_part, (zeros, jnp.float32(0.0)), rows)
    noise = _gradient_noise(_squared_norm(grads), squares, num_parts, jnp.sum(batch.mask, dtype=jnp.float32))
    return loss, grads, metrics, {"grad_noise": noise}


def _gradient_noise(whole: Array, squares: Array, parts: int, num_tokens: Array) -> Mean:
    """tr(Sigma) / |G|^2 in tokens: the batch size up to which more of them buy as much progress.

    From the squared norms of the whole gradient and, summed, of its parts: McCandlish et al., "An Empirical Model of
    Large-Batch Training", appendix A, https://arxiv.org/abs/1812.06162. Noise and signal are averaged apart.

    Example: gradients (2, 1) and (1, 1) of two parts of five tokens
        >>> noise, signal = _gradient_noise(jnp.float32(13), jnp.float32(7), 2, jnp.float32(10))
        >>> noise.item(), signal.item()
        (10.0, 12.0)
    """
    of_part = parts * squares  # mean over parts of |parts * gradient|^2
    noise, signal = num_tokens * (of_part - whole), parts * whole - of_part
    return Mean(noise / (parts - 1), signal / (parts - 1))


def _squared_norm(tree: Any) -> Array:
    return optax.tree.norm(tree, squared=True)
