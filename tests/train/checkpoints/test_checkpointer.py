# SPDX-License-Identifier: Apache-2.0
"""Which checkpoints stay, and what comes back out of them."""

import contextlib

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntl_jax.train.checkpoints.checkpointer import Checkpointer, restore_policy
from ntl_jax.update.average import with_average
from ntl_jax.update.state import ModelState, TrainState


def state_at(step: int) -> TrainState:
    return TrainState(jnp.int32(step), ModelState({"weight": jnp.full((2, 3), float(step))}, (jnp.ones(2),)))


@pytest.fixture
def run(tmp_path):
    """Five steps; evaluated at 1 (0.3), 2 (0.7), 3 (0.5)."""
    with contextlib.closing(Checkpointer(tmp_path, "ppo", keep_last=2)) as checkpoints:
        for step in range(1, 6):
            held_out = {1: {"val/accuracy": 0.3}, 2: {"val/accuracy": 0.7}, 3: {"val/accuracy": 0.5}}.get(step, {})
            checkpoints.save(step, state_at(step), {"cursor": step}, held_out)
        assert checkpoints.best_accuracy() == 0.7
    return tmp_path


def test_the_newest_and_the_best_are_kept(run):
    kept = {path.name for path in (run / "checkpoints" / "ppo").iterdir() if path.name.isdigit()}
    assert kept == {"2", "4", "5"}


def test_a_resumed_run_gets_state_position_and_evaluation_of_the_newest(run):
    with contextlib.closing(Checkpointer(run, "ppo")) as checkpoints:
        step, state, meta, held_out = checkpoints.restore(state_at(0))
        assert checkpoints.best_accuracy() == 0.7
    assert (step, int(state.step), meta, held_out) == (5, 5, {"cursor": 5}, {})
    np.testing.assert_array_equal(state.policy.params["weight"], state_at(5).policy.params["weight"])


@pytest.mark.parametrize(("which", "step"), [("newest", 5), ("best", 2)])
def test_the_policy_alone_comes_from_the_newest_or_the_best(run, which, step):
    stage, found, params = restore_policy(run, state_at(0).policy.params, which)
    assert (stage, found) == ("ppo", step)
    np.testing.assert_array_equal(params["weight"], state_at(step).policy.params["weight"])


def test_the_best_of_checkpoints_that_were_never_evaluated_is_the_newest(tmp_path):
    with contextlib.closing(Checkpointer(tmp_path, "warm_start")) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state_at(step), {}, {})
        assert checkpoints.best_accuracy() == float("-inf")
    assert restore_policy(tmp_path, state_at(0).policy.params, "best")[:2] == ("warm_start", 2)


def test_the_last_stage_with_a_checkpoint_counts(run):
    with contextlib.closing(Checkpointer(run, "warm_start")) as checkpoints:
        checkpoints.save(9, state_at(9), {}, {"val/accuracy": 0.9})
    assert restore_policy(run, state_at(0).policy.params)[:2] == ("ppo", 5)


def test_the_policy_of_a_run_that_keeps_an_average_is_the_average(tmp_path):
    params = {"weight": jnp.zeros((2, 3), jnp.bfloat16)}
    state = TrainState(
        jnp.int32(1), ModelState(params, with_average(optax.adamw(1.0), 0.9).init({"weight": jnp.ones((2, 3))}))
    )
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(1, state, {}, {})
        assert isinstance(checkpoints.restore(state)[1].policy.opt_state, dict)
    found = restore_policy(tmp_path, params)[2]["weight"]
    assert found.dtype == jnp.bfloat16 and (found == 1).all()


def test_looking_for_a_policy_leaves_no_trace(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        restore_policy(tmp_path, state_at(0).policy.params)
    assert not list(tmp_path.iterdir())
