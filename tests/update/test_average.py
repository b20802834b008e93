# SPDX-License-Identifier: Apache-2.0
"""The moving average of parameters, by hand and beside a trainer's own."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntl_jax.train.factory import assemble, supervised_trainer
from ntl_jax.update.average import AVERAGE, averaged, with_average


def test_an_average_begins_at_the_parameters_and_goes_part_of_the_way_to_each_new_ones():
    """8, 4 and 2, half of the way each: 8, then 6, then 4."""
    optimizer = with_average(optax.sgd(0.5), 0.5)
    params: Any = {"up": jnp.array([8.0])}
    state, found = optimizer.init(params), []
    for _ in range(2):
        updates, state = optimizer.update(params, state, params)
        params = optax.apply_updates(params, updates)
        found.append((params["up"].item(), averaged(params, state)["up"].item()))
    assert found == [(4.0, 6.0), (2.0, 4.0)]


def test_an_average_keeps_in_float32_what_bfloat16_would_lose():
    optimizer, params = with_average(optax.sgd(1.0), 0.999), {"up": jnp.ones(1, jnp.bfloat16)}
    state: Any = optimizer.update({"up": jnp.ones(1, jnp.bfloat16)}, optimizer.init(params), params)[1]
    assert state[AVERAGE]["up"].item() == pytest.approx(0.999)
    assert averaged(params, state)["up"].dtype == jnp.bfloat16


def test_without_a_decay_the_optimizer_is_as_it_was():
    optimizer, params = optax.adamw(0.1), {"up": jnp.ones(1)}
    assert with_average(optimizer, 0.0) is optimizer
    assert averaged(params, optimizer.init(params)) is params


def test_a_trainer_averages_its_parameters_and_learns_as_without(tiny):
    decay, runs = 0.75, []
    for ema_decay in (decay, 0.0):
        optimizer = dataclasses.replace(tiny.warm_start.optimizer, ema_decay=ema_decay)
        parts = assemble(
            dataclasses.replace(tiny, warm_start=dataclasses.replace(tiny.warm_start, optimizer=optimizer))
        )
        trainer, seen = supervised_trainer(parts), [jax.device_get(parts.params)]
        for _ in range(2):
            trainer.step()
            seen.append(jax.device_get(trainer.state.policy.params))
        runs.append((seen, trainer.state.policy))
    (first, second, third), policy = runs[0]
    expected = jax.tree.map(lambda a, b, c: decay * (decay * a + 0.25 * b) + 0.25 * c, first, second, third)
    found = averaged(policy.params, policy.opt_state)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7), found, expected)
    jax.tree.map(np.testing.assert_array_equal, runs[1][0], runs[0][0])
