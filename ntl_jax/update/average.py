# SPDX-License-Identifier: Apache-2.0
"""The moving average of a model's parameters.

Sampling and updates use the newest parameters. The average is evaluated, exported, and passed to the next stage.
Without an average, no memory is allocated for it.
"""

import jax
import jax.numpy as jnp

from ntl_jax.records import Params


def first_average(params: Params) -> Params:
    """The average before the first update: a copy of the parameters in float32."""
    return jax.tree.map(lambda p: jnp.array(p, jnp.float32), params)


def next_average(average: Params, params: Params, decay: float) -> Params:
    """The average after an update.

    average_0 = parameters_0;  average_t = decay * average_{t-1} + (1 - decay) * parameters_t

    The average starts at the parameters, so it needs no bias correction. Polyak and Juditsky, 1992,
    https://doi.org/10.1137/0330046, with decaying weights.

    Args:
        average: the average before the update, float32.
        params: the parameters after the update.
        decay: in (0, 1); about the last 1 / (1 - decay) updates count.

    Example: the parameter steps from 1 to 0, and the average follows by a quarter
        >>> next_average({"up": jnp.ones(1)}, {"up": jnp.zeros(1)}, 0.75)
        {'up': Array([0.75], dtype=float32)}
    """
    return jax.tree.map(lambda a, p: a + (1.0 - decay) * (p.astype(jnp.float32) - a), average, params)
