# SPDX-License-Identifier: Apache-2.0
"""From the optimizer section to optax."""

from typing import Any

import jax
import optax
from optax import contrib

from ntl_jax.config import OptimizerSection

ADAMS_RMS = 0.2  # of an AdamW update in units of the learning rate; Muon's are scaled to it, arXiv:2502.16982
MAX_UPDATE_RMS = 1.0  # of Adafactor's update of one parameter, its paper's d
# Axes that a layer's matrix sums over and those that it gives, by its name: what Muon orthogonalises.
MATRICES = {
    "query": contrib.MuonDimensionNumbers((0,), (1, 2)),
    "key": contrib.MuonDimensionNumbers((0,), (1, 2)),
    "value": contrib.MuonDimensionNumbers((0,), (1, 2)),
    "output": contrib.MuonDimensionNumbers((0, 1), (2,)),
    "gate": contrib.MuonDimensionNumbers((0,), (1,)),
    "up": contrib.MuonDimensionNumbers((0,), (1,)),
    "down": contrib.MuonDimensionNumbers((0,), (1,)),
}


def make_optimizer(
    section: OptimizerSection, total_steps: int, *, learning_rate: float | None = None
) -> optax.GradientTransformation:
    """Clipping by global norm, then the optimizer of the section (weight decay on matrices only).

    AdamW: https://arxiv.org/abs/1711.05101; Adafactor: https://arxiv.org/abs/1804.04235, without relative step sizes;
    Muon: https://kellerjordan.github.io/posts/muon.

    Args:
        section: its settings.
        total_steps: updates of the stage; a falling schedule ends there.
        learning_rate: instead of the section's.

    Example:
        >>> optimizer = make_optimizer(OptimizerSection(name="adafactor", warmup_steps=0), total_steps=10)
        >>> weights = {"up": jax.numpy.ones((2, 2))}
        >>> updates, _ = optimizer.update(weights, optimizer.init(weights), weights)
        >>> print(updates["up"].round(4))
        [[-0.001 -0.001]
         [-0.001 -0.001]]
    """
    rate = learning_rate_schedule(section, total_steps, learning_rate)
    return optax.chain(optax.clip_by_global_norm(section.max_grad_norm), _transformation(section, rate))


def learning_rate_schedule(
    section: OptimizerSection, total_steps: int, learning_rate: float | None = None
) -> optax.Schedule:
    """Linear warm-up from 0, then constant, or linear or cosine to 0 at ``total_steps``.

    Args:
        section, total_steps, learning_rate: as in `make_optimizer`.

    Example:
        >>> schedule = learning_rate_schedule(OptimizerSection(learning_rate=0.5, warmup_steps=10), total_steps=100)
        >>> float(schedule(5)), float(schedule(50))
        (0.25, 0.5)
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
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup]) if warmup else after


def _transformation(section: OptimizerSection, rate: optax.Schedule) -> optax.GradientTransformation:
    match section.name:
        case "adamw":
            return optax.adamw(rate, section.b1, section.b2, weight_decay=section.weight_decay, mask=_are_matrices)
        case "adafactor":
            return optax.chain(
                optax.scale_by_factored_rms(),
                optax.clip_by_block_rms(MAX_UPDATE_RMS),
                optax.add_decayed_weights(section.weight_decay, _are_matrices),
                optax.scale_by_learning_rate(rate),
            )
        case "muon":
            return contrib.muon(
                rate,
                beta=section.b1,
                weight_decay=section.weight_decay,
                adam_b1=section.b1,
                adam_b2=section.b2,
                muon_weight_dimension_numbers=_matrices_of_layers,
                consistent_rms=ADAMS_RMS,
            )


def _are_matrices(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim >= 2, params)


def _matrices_of_layers(params: Any) -> Any:
    """The axes of each matrix that Muon takes; None for the embeddings, norms and biases."""

    def axes(path, _):
        names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey) and key.key in MATRICES]
        return MATRICES[names[-1]] if names else None

    return jax.tree.map_with_path(axes, params)
