# SPDX-License-Identifier: Apache-2.0
"""Optax optimizers from the optimizer section, and the number of updates in each schedule."""

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import KeyPath
from jaxtyping import Array, Float, PyTree
from optax import contrib

from ntl_jax.config import OptimizerSection, RunConfig
from ntl_jax.models.parameters import parameter_at
from ntl_jax.records import Params

ADAMS_RMS = 0.2  # RMS of an AdamW update / learning rate; Muon's updates are scaled to it, arXiv:2502.16982
MAX_UPDATE_RMS = 1.0  # RMS limit of Adafactor's update of one parameter, d in its paper
DECAYED = ("matrix", "embedding", "head")  # kinds of parameters that weight decay applies to


def make_optimizer(
    section: OptimizerSection, total_steps: int, *, learning_rate: float | None = None
) -> optax.GradientTransformationExtraArgs:
    """Clipping by global norm, then the optimizer of the section.

    ``update`` takes the gradients' norm as ``grad_norm`` if it is known, so that it is computed once per step.

    Weight decay applies to the layers' matrices and the embeddings, including a separate head, but not to biases, norms
    and the critic's value head. Muon orthogonalizes only the layers' matrices.

    AdamW: https://arxiv.org/abs/1711.05101; Adafactor: https://arxiv.org/abs/1804.04235, without relative step sizes;
    Muon: https://kellerjordan.github.io/posts/muon.

    Args:
        section: the optimizer section.
        total_steps: updates of this model in the stage; a decaying schedule ends there.
        learning_rate: overrides the section's.

    Raises:
        ValueError: from ``init`` and ``update``, for a parameter that ``models.parameters`` does not have.

    Example:
        >>> optimizer = make_optimizer(OptimizerSection(name="adafactor", warmup_steps=0), total_steps=10)
        >>> weights = {"up": jax.numpy.ones((2, 2))}
        >>> updates, _ = optimizer.update(weights, optimizer.init(weights), weights)
        >>> print(updates["up"].round(4))
        [[-0.001 -0.001]
         [-0.001 -0.001]]
    """
    rate = learning_rate_schedule(section, total_steps, learning_rate)
    return optax.chain(clip_by_global_norm(section.max_grad_norm), _transformation(section, rate))


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformationExtraArgs:
    """Scales gradients of a global norm above ``max_norm`` down to it, as optax's transformation of this name.

    It multiplies by one factor, which XLA fuses into the moments' updates; optax's quotients are stored in an array of
    their own. With AdamW an update reads and writes 17 arrays of the parameters' size, not 22.

    Args:
        max_norm: largest norm.

    Example:
        >>> clip, grads = clip_by_global_norm(5.0), {"up": jnp.array([6.0, 8.0])}
        >>> clip.update(grads, clip.init(grads))[0]["up"].tolist()
        [3.0, 4.0]
    """

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        grad_norm: Float[Array, ""] | None = None,
        **_: object,
    ) -> tuple[optax.Updates, optax.OptState]:
        norm = optax.tree.norm(updates) if grad_norm is None else grad_norm
        factor = max_norm / jnp.maximum(norm, max_norm)
        return jax.tree.map(lambda grad: (grad * factor).astype(grad.dtype), updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def learning_rate_schedule(
    section: OptimizerSection, total_steps: int, learning_rate: float | None = None
) -> optax.Schedule:
    """Linear warm-up, then constant, or linear or cosine decay to 0. Updates count from 0.

    With peak p, W warm-up updates and N = ``total_steps``, so that N - 1 is the last update:

    rate_n = p (n + 1) / W  for n < W;  after it p f((n - W) / (N - W)) with f(x) = 1, 1 - x, or (1 + cos(pi x)) / 2

    The first and the last update have rates above 0, and update W - 1 has the peak rate.

    Args:
        section, total_steps, learning_rate: as in `make_optimizer`.

    Example:
        >>> schedule = learning_rate_schedule(OptimizerSection(learning_rate=0.5, warmup_steps=10), total_steps=100)
        >>> [schedule(n).item() for n in (1, 4, 9, 50)]
        [0.10000000149011612, 0.25, 0.5, 0.5]
    """
    peak, warmup = section.learning_rate if learning_rate is None else learning_rate, section.warmup_steps
    steps = max(1, total_steps - warmup)
    match section.schedule:
        case "constant":
            after = optax.constant_schedule(peak)
        case "linear":
            after = optax.linear_schedule(peak, 0.0, steps)
        case "cosine":
            after = optax.cosine_decay_schedule(peak, steps)
    return optax.join_schedules([lambda n: peak * (n + 1) / warmup, after], [warmup]) if warmup else after


def planned_updates(config: RunConfig) -> dict[str, dict[str, int]]:
    """The planned number of updates for each model and stage: the length of the schedules.

    The policy has no updates during ``algorithm.critic_warmup``. Skipped updates, in which all weights are 0, count
    here but do not advance the schedule.

    Args:
        config: the run's configuration.

    Returns:
        Number of updates, by stage and model.

    Example: 10 iterations of 2 updates; the first 4 iterations update only the critic
        >>> from ntl_jax.config import AlgorithmSection, TrainerSection
        >>> algorithm = AlgorithmSection(advantage="gae", critic_warmup=4)
        >>> planned_updates(RunConfig(algorithm=algorithm, trainer=TrainerSection(steps=10)))
        {'warm_start': {'policy': 300}, 'ppo': {'policy': 12, 'critic': 20}}
    """
    algorithm, iterations = config.algorithm, config.trainer.steps
    updates = algorithm.epochs * algorithm.minibatches
    ppo = {"policy": max(0, iterations - algorithm.warmup_iterations) * updates}
    if algorithm.advantage == "gae":
        ppo["critic"] = iterations * updates
    return {"warm_start": {"policy": config.warm_start.steps}, "ppo": ppo}


def optimizers(config: RunConfig) -> dict[str, OptimizerSection]:
    """The optimizer section of each stage."""
    return {"warm_start": config.warm_start.optimizer, "ppo": config.algorithm.optimizer}


def _transformation(section: OptimizerSection, rate: optax.Schedule) -> optax.GradientTransformation:
    decay = optax.add_decayed_weights(section.weight_decay, _decays)
    by_rate = optax.scale_by_learning_rate(rate)
    match section.name:
        case "adamw":
            return optax.adamw(rate, section.b1, section.b2, weight_decay=section.weight_decay, mask=_decays)
        case "adafactor":
            return optax.chain(optax.scale_by_factored_rms(), _clip_rms(MAX_UPDATE_RMS), decay, by_rate)
        case "muon":
            directions = contrib.muon(
                -1.0,  # optax flips the sign of updates that it scales by a learning rate
                beta=section.b1,
                adam_b1=section.b1,
                adam_b2=section.b2,
                muon_weight_dimension_numbers=_axes_of_layers_matrices,
                consistent_rms=ADAMS_RMS,
            )
            return optax.chain(directions, decay, by_rate)


def _clip_rms(limit: float) -> optax.GradientTransformation:
    """Limits the RMS of the update of each parameter; a stacked array is one parameter for each layer."""

    def clipped(path: KeyPath, update: jax.Array) -> jax.Array:
        axes = range(parameter_at(path).num_stacked, update.ndim)
        rms = jnp.sqrt(jnp.mean(jnp.square(update), axis=tuple(axes), keepdims=True))
        return update / jnp.maximum(1.0, rms / limit)

    return optax.stateless(lambda updates, _: jax.tree.map_with_path(clipped, updates))


def _decays(params: Params) -> PyTree[bool]:
    return jax.tree.map_with_path(lambda path, _: parameter_at(path).kind in DECAYED, params)


def _axes_of_layers_matrices(params: Params) -> PyTree[contrib.MuonDimensionNumbers | None]:
    """The axes of each matrix for Muon, without that of stacked layers; None for every other kind of parameter."""

    def axes(path: KeyPath, _: object) -> contrib.MuonDimensionNumbers | None:
        parameter = parameter_at(path)
        of_layer = tuple(range(parameter.num_stacked, len(parameter.axes)))
        inputs, outputs = of_layer[: parameter.num_inputs], of_layer[parameter.num_inputs :]
        return contrib.MuonDimensionNumbers(inputs, outputs) if parameter.kind == "matrix" else None

    return jax.tree.map_with_path(axes, params)
