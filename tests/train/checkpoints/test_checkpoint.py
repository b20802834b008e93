# SPDX-License-Identifier: Apache-2.0
"""A checkpoint that is damaged, holds weights that are not finite, or does not fit is refused with the reason."""

import contextlib
import json
import shutil

import jax.numpy as jnp
import pytest

from ntl_jax.train.checkpoints.checkpoint import Checkpoint, MisfitError, UnusableError
from ntl_jax.train.checkpoints.checkpointer import Checkpointer, newest_meta, restore_policy
from ntl_jax.train.checkpoints.manifest import MANIFEST, seal
from ntl_jax.update.state import ModelState, TrainState
from tests.train.hand_made_stages import state_at


@pytest.fixture
def checkpoint(tmp_path):
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(2, state_at(2), {"cursor": 2}, {"val/accuracy": 0.5}, {})
        assert checkpoints.latest_step() == 2
    return Checkpoint("ppo", 2, tmp_path / "checkpoints" / "ppo" / "2")


def test_a_checkpoint_holds_what_was_saved(checkpoint):
    assert checkpoint.meta == {"cursor": 2} and checkpoint.held_out == {"val/accuracy": 0.5}
    assert checkpoint.is_sealed and checkpoint.accuracy == 0.5
    checkpoint.check()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("state", r"is damaged: state/.* is missing"),
        (MANIFEST, r"is damaged: manifest.json is missing"),
        ("meta/metadata", r"is damaged: meta/metadata is missing"),
    ],
)
def test_what_is_missing_is_named(checkpoint, name, said):
    path = checkpoint.folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UnusableError, match=said):
        checkpoint.restore(state_at(0))
    with pytest.raises(UnusableError, match=said):
        checkpoint.restore_policy(state_at(0).policy.params)


def test_weights_that_are_not_finite_are_refused_and_named(tmp_path):
    params = {"good": jnp.zeros(3), "bad": jnp.array([0.0, jnp.nan])}
    state = TrainState(jnp.int32(1), {"policy": ModelState(params, ())})
    with contextlib.closing(Checkpointer(tmp_path, "ppo")) as checkpoints:
        checkpoints.save(1, state, {}, {}, {})
        with pytest.raises(ValueError, match=r"1 of its weights are not finite, the first of them \['bad'\]"):
            checkpoints.restore(state)
    with pytest.raises(ValueError, match=r"1 of its weights are not finite, the first of them \['bad'\]"):
        restore_policy(tmp_path, params)


def test_another_width_is_no_damage(checkpoint):
    wide = {"weight": jnp.zeros((2, 5))}
    with pytest.raises(MisfitError, match="does not fit this run's policy and optimizer"):
        checkpoint.restore(TrainState(jnp.int32(0), {"policy": ModelState(wide, (jnp.ones(2),))}))
    with pytest.raises(MisfitError, match="does not fit"):
        checkpoint.restore_policy(wide)


def as_by_an_older_version(checkpoint) -> None:
    (checkpoint.folder / MANIFEST).unlink()
    (checkpoint.folder / "meta" / "metadata").write_text('{"cursor": 2}')


def test_a_checkpoint_without_manifest_is_read_and_said_to_be_unverified(checkpoint, tmp_path):
    as_by_an_older_version(checkpoint)
    said = []
    assert restore_policy(tmp_path, state_at(0).policy.params, say=said.append)[:2] == ("ppo", 2)
    assert (
        len(said) == 1 and "2 has no manifest, since an older version wrote it: its files are not verified" in said[0]
    )


@pytest.mark.parametrize("content", ["{}", "[]", "{", ""])
def test_a_checkpoint_without_manifest_and_without_a_position_is_damaged(checkpoint, tmp_path, content):
    as_by_an_older_version(checkpoint)
    (checkpoint.folder / "meta" / "metadata").write_text(content)
    with pytest.raises(UnusableError, match=r"no checkpoint is intact: .*2 is damaged: meta/metadata"):
        newest_meta(tmp_path)


def test_a_checkpoint_without_manifest_and_without_arrays_is_damaged(checkpoint):
    as_by_an_older_version(checkpoint)
    for path in (checkpoint.folder / "state").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UnusableError, match="damaged"):
        checkpoint.restore(state_at(0))


def test_an_accuracy_that_cannot_be_read_is_none(checkpoint):
    (checkpoint.folder / "metrics" / "metrics").write_text("{")
    assert checkpoint.accuracy == float("-inf")
    (checkpoint.folder / "metrics" / "metrics").write_text(json.dumps({}))
    seal(checkpoint.folder)
    assert checkpoint.accuracy == float("-inf")
