# SPDX-License-Identifier: Apache-2.0
"""From the optimizer section to optax."""

import jax
import optax

from ntl_jax.config import OptimizerSection


def make_optimizer(section: OptimizerSection, total_steps: int) -> optax.GradientTransformation:
    """Clipping by global norm, then AdamW (weight decay on matrices only).

    Args:
        section: its settings.
        total_steps: updates of the stage; the cosine schedule ends there.
    """
    return optax.chain(
        optax.clip_by_global_norm(section.max_grad_norm),
        optax.adamw(
            learning_rate_schedule(section, total_steps),
            b1=section.b1,
            b2=section.b2,
            weight_decay=section.weight_decay,
            mask=lambda params: jax.tree.map(lambda p: p.ndim >= 2, params),
        ),
    )


def learning_rate_schedule(section: OptimizerSection, total_steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then constant, or cosine to 0 at ``total_steps``.

    Example:
        >>> schedule = learning_rate_schedule(OptimizerSection(learning_rate=0.5, warmup_steps=10), total_steps=100)
        >>> float(schedule(5)), float(schedule(50))
        (0.25, 0.5)
    """
    peak, warmup = section.learning_rate, section.warmup_steps
    match section.schedule:
        case "constant":
            after = optax.constant_schedule(peak)
        case "cosine":
            after = optax.cosine_decay_schedule(peak, max(1, total_steps - warmup))
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup]) if warmup else after
