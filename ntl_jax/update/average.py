# SPDX-License-Identifier: Apache-2.0
"""The moving average of a policy's parameters: what a stage results in, where one is kept.

Sampling and learning go on with the newest parameters. The average is evaluated, exported, and handed on to the next
stage. It lies among the optimizer's moments, so that checkpoints hold it and, without one, nothing of it exists.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

AVERAGE = "average"
"""Where it lies in the optimizer's state."""


def with_average(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """The optimizer, and with ``decay`` above 0 an average of the parameters that it makes; its updates stay the same.

    average_0 = parameters_0;  average_t = decay * average_{t-1} + (1 - decay) * parameters_t

    Beginning at the parameters, it needs no correction of a bias. Polyak and Juditsky, 1992,
    https://doi.org/10.1137/0330046, with weights that decay.

    Args:
        optimizer: of one model.
        decay: in [0, 1); about the last 1 / (1 - decay) updates count.

    Returns:
        With an average, a transformation whose state holds it under ``AVERAGE``, in float32.

    Example: one step from 1 to 0, of which the average takes a quarter
        >>> optimizer, params = with_average(optax.sgd(1.0), 0.75), {"up": jnp.ones(1)}
        >>> updates, state = optimizer.update(params, optimizer.init(params), params)
        >>> averaged(optax.apply_updates(params, updates), state)
        {'up': Array([0.75], dtype=float32)}
    """
    return optax.named_chain(("optimizer", optimizer), (AVERAGE, _average(decay))) if decay else optimizer


def averaged(params: Any, opt_state: Any) -> Any:
    """The average of the parameters, in their own dtype; the parameters themselves where the optimizer keeps none.

    Args:
        params: the newest.
        opt_state: of their optimizer.

    Example: see `with_average`.
    """
    if not isinstance(opt_state, dict):
        return params
    return jax.tree.map(lambda average, p: average.astype(p.dtype), opt_state[AVERAGE], params)


def _average(decay: float) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        return jax.tree.map(lambda p: jnp.array(p, jnp.float32), params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        newest = optax.apply_updates(params, updates)
        return updates, jax.tree.map(lambda a, p: a + (1.0 - decay) * (p.astype(jnp.float32) - a), state, newest)

    return optax.GradientTransformation(init, update)
