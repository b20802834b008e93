# SPDX-License-Identifier: Apache-2.0
"""The moving average of parameters: by hand, and in the state of a model."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntl_jax.metrics.sums import MetricSums
from ntl_jax.models import make_mesh, shardings
from ntl_jax.records import Batch, Rows, Targets, TokenWeights
from ntl_jax.update.average import first_average, next_average
from ntl_jax.update.objectives import Loss
from ntl_jax.update.state import ModelState, init_model_state, init_train_state
from ntl_jax.update.step import Learner, Term, make_step


def test_an_average_begins_at_the_parameters_and_goes_part_of_the_way_to_each_new_ones():
    """8, 4 and 2, half of the way each: 8, then 6, then 4."""
    average, found = first_average({"up": jnp.array([8.0])}), []
    for new in (4.0, 2.0):
        average = next_average(average, {"up": jnp.array([new])}, 0.5)
        found.append(average["up"].item())
    assert found == [6.0, 4.0]


def test_an_average_keeps_in_float32_what_bfloat16_would_lose():
    params = {"up": jnp.ones(1, jnp.bfloat16)}
    average = next_average(first_average(params), {"up": jnp.zeros(1, jnp.bfloat16)}, 0.999)
    assert average["up"].item() == pytest.approx(0.999)
    assert ModelState(params, (), average).result["up"].dtype == jnp.bfloat16


def test_without_an_average_the_parameters_are_the_result():
    state = ModelState({"up": jnp.ones(1)}, ())
    assert state.average is None and state.result is state.params


def test_an_average_is_no_view_of_the_parameters_whose_memory_an_update_takes():
    params = {"up": jnp.ones((2, 2))}
    average = first_average(params)
    params["up"].delete()
    assert average["up"].sum() == 4


def _squares(params: Any, batch: Batch) -> Loss:
    return Loss(jnp.sum(jnp.square(params["policy"]["up"])), MetricSums({}, {}))


def trained(decay: float, num_steps: int = 2) -> tuple[list[Any], ModelState]:
    """Parameters before and after each update, and the last state."""
    optimizer, mesh = optax.adamw(0.1), make_mesh((1, 1, 1))
    params = {"up": np.arange(6, dtype=np.float32).reshape(2, 3)}
    placed = jax.device_put(params, shardings(params, mesh), may_alias=False)
    state = init_train_state({"policy": init_model_state(placed, optimizer, mesh, with_average=decay > 0)}, mesh)
    learners = {"policy": Learner(optimizer, "actor", decay)}
    step = make_step([Term(("policy",), _squares)], learners, 100, shardings(state, mesh))
    nothing, seen = np.zeros((1, 1), np.int32), [params]
    batch = Batch(Rows(*[nothing] * 4), Targets(nothing, nothing == 0, nothing), TokenWeights(nothing, nothing))
    for _ in range(num_steps):
        state = step(state, batch).state
        seen.append(jax.device_get(state.policy.params))
    return seen, jax.device_get(state.policy)


def test_a_step_averages_the_parameters_and_learns_as_without():
    decay = 0.75
    (first, second, third), policy = trained(decay)
    expected = jax.tree.map(lambda a, b, c: decay * (decay * a + 0.25 * b) + 0.25 * c, first, second, third)
    chex.assert_trees_all_close(policy.result, expected, rtol=1e-6, atol=1e-7)
    assert np.abs(policy.result["up"] - third["up"]).max() > 0.01
    without, policy = trained(0.0)
    chex.assert_trees_all_equal(without, [first, second, third])
    assert policy.average is None
