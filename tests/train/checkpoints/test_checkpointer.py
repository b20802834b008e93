# SPDX-License-Identifier: Apache-2.0
"""Which checkpoints stay, and what comes back out of them."""

import contextlib
import resource
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ntl_jax.ending import explain
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.train.checkpoints.checkpointer import Checkpointer, newest_meta, restore_policy
from ntl_jax.update.state import ModelState, TrainState
from tests.train.hand_made_stages import state_at


@pytest.fixture
def run(tmp_path):
    """Five steps; evaluated at 1 (0.3), 2 (0.7), 3 (0.5)."""
    with contextlib.closing(Checkpointer(tmp_path, "ppo", keep_last=2)) as checkpoints:
        for step in range(1, 6):
            held_out = {1: {"val/accuracy": 0.3}, 2: {"val/accuracy": 0.7}, 3: {"val/accuracy": 0.5}}.get(step, {})
            checkpoints.save(step, state_at(step), {"cursor": step}, held_out, {})
        assert checkpoints.best_accuracy() == 0.7
    return tmp_path


def test_the_newest_and_the_best_are_kept(run):
    kept = {path.name for path in (run / "checkpoints" / "ppo").iterdir() if path.name.isdigit()}
    assert kept == {"2", "4", "5"}


def test_a_resumed_run_gets_state_position_and_evaluation_of_the_newest(run):
    with contextlib.closing(Checkpointer(run, "ppo")) as checkpoints:
        step, state, meta, held_out, _ = checkpoints.restore(state_at(0))
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
            checkpoints.save(step, state_at(step), {}, {}, {})
        assert checkpoints.best_accuracy() == float("-inf")
    assert restore_policy(tmp_path, state_at(0).policy.params, "best")[:2] == ("warm_start", 2)


def test_the_last_stage_with_a_checkpoint_counts(run):
    with contextlib.closing(Checkpointer(run, "warm_start")) as checkpoints:
        checkpoints.save(9, state_at(9), {}, {"val/accuracy": 0.9}, {})
    assert restore_policy(run, state_at(0).policy.params)[:2] == ("ppo", 5)


@pytest.mark.parametrize("average", [None, 7.0], ids=["without an average", "with an average"])
def test_a_state_comes_back_with_its_average_and_the_policy_is_the_average_where_one_is_kept(tmp_path, average):
    state = state_at(3, average)
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(3, state, {}, {}, {})
        restored = checkpoints.restore(state_at(0, None if average is None else 0.0))[1]
    chex.assert_trees_all_equal(restored, state)
    assert (restored.policy.average is None) == (average is None)
    found = restore_policy(tmp_path, state.policy.params)[2]["weight"]
    assert (found == (3.0 if average is None else 7.0)).all()


def test_an_average_comes_in_the_dtype_of_the_parameters(tmp_path):
    """It is kept in float32."""
    params = {"weight": jnp.zeros((2, 3), jnp.bfloat16)}
    state = TrainState(jnp.int32(1), {"policy": ModelState(params, (), {"weight": jnp.ones((2, 3))})})
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(1, state, {}, {}, {})
    found = restore_policy(tmp_path, params)[2]["weight"]
    assert found.dtype == jnp.bfloat16 and (found == 1).all()


def test_all_models_come_back(tmp_path):
    models = {"policy": state_at(1).policy, "critic": state_at(2, 5.0).policy}
    state = TrainState(jnp.int32(1), models)
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(1, state, {}, {}, {})
        chex.assert_trees_all_equal(checkpoints.restore(state)[1], state)
    assert (restore_policy(tmp_path, state.policy.params)[2]["weight"] == 1).all()


def flat(*tokens: int) -> FlatTrajectories:
    """Samples with so many tokens each; a lost one has none."""
    ids = np.arange(sum(tokens), dtype=np.int32)
    return {
        "draws": np.arange(len(tokens)),
        "num_tokens": np.array(tokens, np.int32),
        "response_ids": ids,
        "digit_log_probs": np.full((len(ids), 10), -2.3, np.float32),
        "finish_reasons": np.zeros(len(tokens), np.int8),
    }


@pytest.mark.parametrize("tokens", [(3, 5), (0, 4), (0, 0)], ids=["whole", "one lost", "all lost"])
def test_samples_for_later_steps_come_back_bit_for_bit(tmp_path, tokens):
    arrived = flat(*tokens)
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(1, state_at(1), {}, {}, arrived)
        checkpoints.save(2, state_at(2), {}, {}, {})
        assert checkpoints.restore(state_at(0))[4] == {}
    shutil.rmtree(tmp_path / "checkpoints" / "ppo" / "2")
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        found = checkpoints.restore(state_at(0))[4]
    assert found.keys() == arrived.keys()
    for name, array in arrived.items():
        assert isinstance(found[name], np.ndarray) and found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_policy_is_read_without_the_samples(tmp_path):
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(1, state_at(1), {"cursor": 1}, {}, flat(2, 3))
    assert newest_meta(tmp_path) == ("ppo", {"cursor": 1})
    assert restore_policy(tmp_path, state_at(0).policy.params)[:2] == ("ppo", 1)


def test_a_state_of_other_arrays_is_refused_with_the_remedy(run):
    """Such as of an optimizer that keeps an average, where the run began with one that does not."""
    with contextlib.closing(Checkpointer(run, "ppo")) as checkpoints:  # noqa: SIM117
        with pytest.raises(ValueError, match="does not fit this run's policy and optimizer: resume with the model"):
            checkpoints.restore(state_at(0, 0.0))


def test_parameters_are_restored_to_where_they_are_to_lie(run):
    """Written by one device, read for eight."""
    sharding = NamedSharding(jax.make_mesh((8,), ("fsdp",)), PartitionSpec())
    like = {"weight": jax.ShapeDtypeStruct((2, 3), jnp.float32, sharding=sharding)}
    assert restore_policy(run, like)[2]["weight"].sharding == sharding


def test_a_checkpoint_that_finds_no_space_leaves_the_one_before_it_and_nothing_else(run):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with contextlib.closing(Checkpointer(run, "ppo")) as checkpoints:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
        try:
            with pytest.raises(OSError, match="the checkpoint after step 6 of stage ppo is not written") as error:
                checkpoints.save(6, state_at(6), {"cursor": 6}, {}, {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert explain(error.value, run, "go on").startswith(f"a file in {run} would be larger than allowed")
        assert {path.name for path in (run / "checkpoints" / "ppo").iterdir()} == {"2", "4", "5"}
        checkpoints.save(6, state_at(6), {"cursor": 6}, {}, {})
    assert newest_meta(run) == ("ppo", {"cursor": 6})


def test_what_a_killed_process_left_is_removed_and_damaged_checkpoints_are_kept(run):
    for name in ("6.part", "7.damaged", "8.orbax-checkpoint-tmp"):
        (run / "checkpoints" / "ppo" / name).mkdir()
    Checkpointer(run, "ppo").close()
    assert {path.name for path in (run / "checkpoints" / "ppo").iterdir()} == {"2", "4", "5", "7.damaged"}


def test_reading_leaves_a_run_that_goes_on_alone(run):
    torn = run / "checkpoints" / "ppo" / "6.orbax-checkpoint-tmp"
    torn.mkdir()
    restore_policy(run, state_at(0).policy.params)
    assert newest_meta(run) == ("ppo", {"cursor": 5}) and torn.exists()


def test_looking_for_a_policy_leaves_no_trace(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        restore_policy(tmp_path, state_at(0).policy.params)
    assert not list(tmp_path.iterdir())
