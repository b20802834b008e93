# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in another folder, and in a bucket of a server on this machine that speaks Google Cloud Storage's API."""

import contextlib
import dataclasses
import importlib.util
import json
import pathlib
from collections.abc import Iterator

import chex
import pytest

from launch import export
from ntl_jax.policy_options import AskedPolicy
from ntl_jax.train import run
from ntl_jax.train.asking.asked_policy import asked_weights, check_asked
from ntl_jax.train.checkpoints import place
from ntl_jax.train.checkpoints.checkpoint import Checkpoint, DamagedError
from ntl_jax.train.checkpoints.checkpointer import Checkpointer, check_has_checkpoint, newest_meta, restore_policy
from ntl_jax.train.checkpoints.manifest import MANIFEST
from ntl_jax.train.checkpoints.place import OWNER, place_of, reserved
from tests.gcs_server import MISSING, gcs_server
from tests.runs import left_by
from tests.train.hand_made_stages import state_at

WITH_SERVER = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")
IN_BUCKET = pytest.param("gs://mine/run", marks=WITH_SERVER)


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """With an empty bucket ``mine``."""
    if MISSING:
        yield
        return
    with gcs_server("mine") as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(params=["{tmp}/elsewhere", IN_BUCKET])
def elsewhere(request, server, tmp_path) -> Iterator[str]:
    name = request.param.format(tmp=tmp_path)
    yield name
    with contextlib.suppress(FileNotFoundError):
        place.remove(place_of(tmp_path, name))


def checkpointer(run: pathlib.Path, elsewhere: str | None) -> contextlib.closing[Checkpointer]:
    return contextlib.closing(Checkpointer(run, "ppo", elsewhere=elsewhere))


@pytest.fixture
def saved(tmp_path, elsewhere) -> str:
    """Five steps; the second is the best."""
    with checkpointer(tmp_path, elsewhere) as checkpoints:
        for step in range(1, 6):
            checkpoints.save(step, state_at(step), {"cursor": step}, {"val/accuracy": 0.7 if step == 2 else 0.3}, {})
    return elsewhere


def names_in(folder: place.Place) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_saved_elsewhere_comes_back_and_nothing_is_in_the_run_folder(saved, tmp_path):
    assert not (tmp_path / "checkpoints").exists()
    assert names_in(place_of(tmp_path, saved) / "ppo") == {"2", "4", "5"}
    with checkpointer(tmp_path, saved) as checkpoints:
        assert checkpoints.latest_step() == 5 and checkpoints.best_accuracy() == 0.7
        step, state, meta, held_out, _ = checkpoints.restore(state_at(0))
    assert (step, meta, held_out) == (5, {"cursor": 5}, {"val/accuracy": 0.3})
    chex.assert_trees_all_equal(state, state_at(5))
    assert newest_meta(tmp_path, saved) == ("ppo", {"cursor": 5})
    found = restore_policy(tmp_path, state_at(0).policy.params, "best", elsewhere=saved)
    assert found[:2] == ("ppo", 2) and (found[2]["weight"] == 2).all()


def test_a_damaged_one_is_set_aside_and_written_again(saved, tmp_path):
    folder = place_of(tmp_path, saved) / "ppo"
    (folder / "5" / "meta" / "metadata").write_text("{")
    said = []
    with checkpointer(tmp_path, saved) as checkpoints:
        assert checkpoints.restore(state_at(0), said.append).step == 4
        checkpoints.save(5, state_at(5), {"cursor": 5}, {}, {})
    assert len(said) == 1 and "5 is damaged: meta/metadata is cut short" in said[0] and "5.damaged" in said[0]
    assert names_in(folder) == {"2", "4", "5", "5.damaged"}
    assert newest_meta(tmp_path, saved) == ("ppo", {"cursor": 5})


def test_arrays_that_are_cut_short_are_noticed(saved, tmp_path):
    folder = place_of(tmp_path, saved) / "ppo" / "5"
    name = next(name for name in json.loads((folder / MANIFEST).read_bytes()) if "/d/" in name)
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(DamagedError, match=f"is damaged: {name} is cut short"):
        Checkpoint("ppo", 5, folder).check(without_state=True)


@pytest.mark.parametrize("elsewhere", [IN_BUCKET], indirect=True)
def test_in_a_bucket_one_without_manifest_does_not_count_and_is_removed(saved, tmp_path):
    """It is what a process leaves that is killed while it writes or deletes."""
    folder = place_of(tmp_path, saved) / "ppo"
    (folder / "5" / MANIFEST).unlink()
    assert newest_meta(tmp_path, saved) == ("ppo", {"cursor": 4})
    assert names_in(folder) == {"2", "4", "5"}  # looking removes nothing
    with checkpointer(tmp_path, saved) as checkpoints:
        assert checkpoints.latest_step() == 4
    assert names_in(folder) == {"2", "4"}


def test_a_place_belongs_to_one_run_and_is_free_again_if_that_saves_nothing(elsewhere, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    with reserved(run, elsewhere, resume=False):
        taken = f"holds checkpoints of the run {run}: name a folder of the new run's own, such as .*/other"
        with pytest.raises(ValueError, match=taken), reserved(other, elsewhere, resume=False):
            pass
    with reserved(other, elsewhere, resume=False):
        place_of(run, elsewhere).joinpath("ppo").mkdir()
        (place_of(run, elsewhere) / "ppo" / "1").write_text("")
    assert names_in(place_of(run, elsewhere)) == {OWNER, "ppo"}
    with pytest.raises(ValueError, match="holds checkpoints of the run"), reserved(run, elsewhere, resume=False):
        pass
    with reserved(other, elsewhere, resume=True):
        pass


def test_what_no_run_has_written_is_left_alone(elsewhere, tmp_path):
    folder = place_of(tmp_path, elsewhere)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "precious").write_text("")
    with pytest.raises(ValueError, match="holds 'precious'"), reserved(tmp_path, elsewhere, resume=False):
        pass


@WITH_SERVER
def test_a_bucket_that_is_not_there_is_said_in_one_line(server, tmp_path):
    with pytest.raises(ValueError, match=r"='gs://nowhere/run' cannot be read and written \(.*\): ") as error:  # noqa: SIM117
        with reserved(tmp_path, "gs://nowhere/run", resume=False):
            pass
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"checkpoint_folder=.* cannot be read and written"):  # noqa: SIM117
        with reserved(tmp_path, str(tmp_path / "file" / "below"), resume=False):
            pass


def test_a_bucket_without_the_package_for_it_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'ntl_jax\[gcs\]'"):
        check_has_checkpoint(tmp_path, "gs://mine/run")


def test_a_run_that_saves_elsewhere_is_resumed_asked_and_exported(finished, setup, elsewhere, tmp_path):
    trainer = dataclasses.replace(finished.config.trainer, checkpoint_folder=elsewhere)
    config, folder = dataclasses.replace(finished.config, trainer=trainer), tmp_path / "run"
    run(config, folder)
    metrics = left_by(folder)[0]
    place.withdraw(place_of(folder, elsewhere) / "ppo" / "4")
    run(config, folder, resume=True)
    assert left_by(folder)[0] == metrics and not (folder / "checkpoints").exists()
    asked = AskedPolicy.of(str(folder))
    check_asked(asked, asked.config)
    of_run = asked_weights(asked, setup.policy, seed=0, elsewhere=asked.config.trainer.checkpoint_folder)
    assert of_run[0] == f"{folder} after step 4 of stage ppo"
    assert export.export(folder, tmp_path / "model").endswith("after step 4 of stage ppo")
    exported = asked_weights(AskedPolicy.of(str(tmp_path / "model")), setup.policy, seed=0)[1]
    chex.assert_trees_all_equal_shapes(of_run[1], exported)
