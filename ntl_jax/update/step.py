# SPDX-License-Identifier: Apache-2.0
"""One update as a pure, jitted function (state, batch) -> (state, metrics, outputs for each token)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ntl_jax.metrics.sums import Mean, MetricSums
from ntl_jax.models import num_row_shards
from ntl_jax.records import Batch, Params, TokenOutputs
from ntl_jax.rows.micro_batches import micro_batches
from ntl_jax.update.average import next_average
from ntl_jax.update.objectives import Loss
from ntl_jax.update.state import ModelState, TrainState

Models = Mapping[str, Params]
"""Parameters of the state's models, by name: policy, critic."""


class Term(NamedTuple):
    """A loss, and the models that it trains; parameters of other models are constants.

    Args:
        models: names of the models that it trains.
        loss: (parameters of all models, batch) -> loss.
    """

    models: tuple[str, ...]
    loss: Callable[[Models, Batch], Loss]


class Learner(NamedTuple):
    """A model's optimizer, the metric group of its norms, and the decay of its moving average (0: none)."""

    optimizer: optax.GradientTransformation
    group: str
    ema_decay: float = 0.0


class Updated(NamedTuple):
    """The result of an update; ``tokens`` [rows, T] only if requested and the losses are the policy's."""

    state: TrainState
    metrics: MetricSums
    tokens: TokenOutputs | None


class Step:
    """A jitted update on a mesh, to be called with (state, batch).

    Args:
        jitted: (state, batch) -> (state, metrics, tokens).
        mesh: mesh of the state.
    """

    def __init__(self, jitted: jax.stages.Wrapped, mesh: jax.sharding.Mesh):
        self._jitted, self._mesh = jitted, mesh

    def __call__(self, state: TrainState, batch: Batch) -> Updated:
        with jax.set_mesh(self._mesh):  # activations are sharded too, not only inputs and outputs
            return Updated(*self._jitted(state, batch))

    def lower(self, state: TrainState, batch: Batch) -> jax.stages.Lowered:
        """The program of such arguments, to compile ahead of a call, also in another thread. Shapes are enough."""
        with jax.set_mesh(self._mesh):
            return self._jitted.lower(state, batch)


class _Gradients(NamedTuple):
    """Sums over the micro-batches of a batch; ``grads`` by model."""

    loss: Array
    grads: dict[str, Params]
    metrics: MetricSums
    tokens: TokenOutputs | None
    noise: dict[str, Mean]


def make_step(
    terms: Sequence[Term],
    learners: Mapping[str, Learner],
    max_tokens_per_micro_batch: int,
    state_sharding: TrainState,
    *,
    per_token: bool = False,
) -> Step:
    """The jitted update of a stage; the state is donated and keeps its sharding.

    If loss or gradient is not finite, the step returns the old state and ``non_finite = 1`` among the metrics' maxima,
    and the host stops the run. Other metrics may overflow and are reported as inf or NaN.

    Args:
        terms: losses; each model is trained by at most one of them, and is unchanged without one.
        learners: learners by model.
        max_tokens_per_micro_batch: rows are split into the fewest equal parts of at most this many padded tokens.
        state_sharding: sharding of every leaf of the state.
        per_token: whether to return log-probs and entropy of the response tokens, under the parameters before the
            update.
    """
    mesh = jax.tree.leaves(state_sharding)[0].mesh

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, MetricSums, TokenOutputs | None]:
        num_rows, row_size = batch.rows.shape
        parts = micro_batches(num_rows, row_size, max_tokens_per_micro_batch, num_row_shards(mesh))
        grads, grad_norms, metrics, checked, tokens = {}, {}, MetricSums({}, {}), [], None
        for term in terms:
            of_term = _accumulated_gradients(term, state.params, batch, parts, per_token=per_token)
            grad_norms |= {name: optax.tree.norm(of_term.grads[name]) for name in term.models}
            norms = {f"{learners[name].group}/grad_norm": _whole(grad_norms[name]) for name in term.models}
            of_whole = {"loss": _whole(of_term.loss), **of_term.noise}
            whole = {f"{learners[term.models[0]].group}/{name}": mean for name, mean in of_whole.items()}
            means, maxima = of_term.metrics
            metrics = MetricSums(metrics.means | means | norms | whole, metrics.maxima | maxima)
            grads |= of_term.grads
            checked += [of_term.loss, *(norm.total for norm in norms.values())]
            tokens = of_term.tokens if tokens is None else tokens
        finite = jnp.all(jnp.isfinite(jnp.array(checked)))
        # A branch, not a select between two states, which would read and write every optimizer moment again.
        state, norms = jax.lax.cond(finite, *_branches(learners, grads, grad_norms), state)
        return state, MetricSums(metrics.means | norms, metrics.maxima | {"non_finite": 1.0 - finite}), tokens

    return Step(jax.jit(step, donate_argnums=0, out_shardings=(state_sharding, None, None)), mesh)


def _branches(
    learners: Mapping[str, Learner], grads: Mapping[str, Params], grad_norms: Mapping[str, Array]
) -> tuple[Callable, Callable]:
    """Two branches: update the models that have a gradient, or keep the old state and report NaN norms."""

    def update(state: TrainState) -> tuple[TrainState, dict[str, Mean]]:
        models, norms = dict(state.models), {}
        for name in grads:
            models[name], of_model = _updated(learners[name], models[name], grads[name], grad_norms[name])
            norms |= of_model
        return dataclasses.replace(state, step=state.step + 1, models=models), norms

    def keep(state: TrainState) -> tuple[TrainState, dict[str, Mean]]:
        unknown = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(update, state)[1])
        return state, unknown

    return update, keep


def _updated(
    learner: Learner, model: ModelState, grads: Params, grad_norm: Array
) -> tuple[ModelState, dict[str, Mean]]:
    """The model after the optimizer's update, with the norms of parameters and update."""
    optimizer = optax.with_extra_args_support(learner.optimizer)
    updates, opt_state = optimizer.update(grads, model.opt_state, model.params, grad_norm=grad_norm)
    params = optax.apply_updates(model.params, updates)
    average = None if model.average is None else next_average(model.average, params, learner.ema_decay)
    norms = {"param_norm": optax.tree.norm(params), "update_norm": optax.tree.norm(updates)}
    return ModelState(params, opt_state, average), {f"{learner.group}/{k}": _whole(norm) for k, norm in norms.items()}


def _whole(value: Array) -> Mean:
    """A value of the whole update."""
    return Mean(value, jnp.float32(1.0))


def _accumulated_gradients(
    term: Term, params: Models, batch: Batch, parts: tuple[int, int], *, per_token: bool
) -> _Gradients:
    """Gradients of the whole batch, summed over its parts; with gradient noise if there are several parts."""
    (num_parts, size), num_rows = parts, batch.rows.shape[0]

    def of_part(part: Batch) -> tuple[tuple[Array, MetricSums, dict[str, Params]], TokenOutputs | None]:
        def loss(taught: dict[str, Params]) -> tuple[Array, Loss]:
            result = term.loss({**params, **taught}, part)
            return result.total, result

        taught = {name: params[name] for name in term.models}
        (total, result), grads = jax.value_and_grad(loss, has_aux=True)(taught)
        return (total, result.metrics, grads), result.tokens if per_token else None

    if num_parts == 1:
        (loss, metrics, grads), tokens = of_part(batch)
        return _Gradients(loss, grads, metrics, tokens, {})

    def add_part(total: tuple, part: Batch) -> tuple[tuple, TokenOutputs | None]:
        (loss, metrics, grads), squares = total
        (loss_of_part, metrics_of_part, grads_of_part), tokens = of_part(part)
        grads = jax.tree.map(lambda total, part: total + part.astype(total.dtype), grads, grads_of_part)
        sums = loss + loss_of_part, metrics + metrics_of_part, grads
        return (sums, squares + _squared_norm(grads_of_part)), tokens

    rows = jax.tree.map(lambda x: _deal(x, num_rows, num_parts, size), batch)
    shapes = jax.eval_shape(of_part, jax.tree.map(lambda x: x[0], rows))[0]
    # Sums are float32 whatever the parameters: in bfloat16 many small parts would be lost.
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), shapes)
    ((loss, metrics, grads), squares), tokens = jax.lax.scan(add_part, (zeros, jnp.float32(0.0)), rows)
    grads = jax.tree.map(lambda total, like: total.astype(like.dtype), grads, shapes[2])
    num_tokens = jnp.sum(batch.tokens.mask, dtype=jnp.float32)
    noise = _gradient_noise(_squared_norm(grads), squares, num_parts, num_tokens)
    tokens = jax.tree.map(lambda x: _gather(x, size, len(batch.tokens.mask)), tokens)
    return _Gradients(loss, grads, metrics, tokens, {"grad_noise": noise})


def _deal(x: Array, num_rows: int, num_parts: int, size: int) -> Array:
    """Equally many entries for each row, as [parts, entries, ...] with the entries of ``size`` rows in each part.

    Rows are dealt like cards, not cut like a deck, so that each device has rows of every part. Rows of zeros, in which
    no token counts, fill the parts.
    """
    by_row = x.reshape(num_rows, -1, *x.shape[1:])
    filled = jnp.pad(by_row, [(0, num_parts * size - num_rows), *[(0, 0)] * x.ndim])
    dealt = filled.reshape(size, num_parts, *by_row.shape[1:]).swapaxes(0, 1)
    return dealt.reshape(num_parts, -1, *x.shape[1:])


def _gather(x: Array, size: int, num_entries: int) -> Array:
    """The dealt entries in their original order."""
    by_row = x.reshape(len(x), size, -1, *x.shape[2:])
    return by_row.swapaxes(0, 1).reshape(-1, *x.shape[2:])[:num_entries]


def _gradient_noise(whole: Array, squares: Array, parts: int, num_tokens: Array) -> Mean:
    """tr(Sigma) / |G|^2 in tokens: the batch size up to which more tokens bring proportional progress.

    Computed from the squared norm of the whole gradient and the sum of the parts' squared norms: McCandlish et al., "An
    Empirical Model of Large-Batch Training", appendix A, https://arxiv.org/abs/1812.06162. Noise and signal are
    averaged separately.

    Example: two parts of five tokens each, with gradients (2, 1) and (1, 1)
        >>> noise, signal = _gradient_noise(jnp.float32(13), jnp.float32(7), 2, jnp.float32(10))
        >>> noise.item(), signal.item()
        (10.0, 12.0)
    """
    of_part = parts * squares  # mean over parts of |parts * gradient|^2
    noise, signal = num_tokens * (of_part - whole), parts * whole - of_part
    return Mean(noise / (parts - 1), signal / (parts - 1))


def _squared_norm(tree: Params) -> Array:
    return optax.tree.norm(tree, squared=True)
