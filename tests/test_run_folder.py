# SPDX-License-Identifier: Apache-2.0
"""A run folder belongs to one process at a time, and to one run for ever."""

import os
import pathlib
import subprocess
import sys

import pytest

from ntl_jax.run_folder import LOCK, HoldsRunError, InUseError, claimed, new_folder

ROOT = pathlib.Path(__file__).parents[1]
HOLDS = """
import pathlib, sys, time
from ntl_jax.run_folder import claimed
with claimed(pathlib.Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_made_claimed_and_left_without_a_trace(tmp_path):
    folder = tmp_path / "runs" / "mine"
    with claimed(folder):
        assert folder.is_dir() and (folder / LOCK).read_text().startswith(f"process {os.getpid()} on ")
        with pytest.raises(InUseError, match=f"in use by process {os.getpid()} on .*--workdir=DIR"), claimed(folder):
            pass
        assert (folder / LOCK).exists()
    assert not folder.exists()


def test_what_was_there_or_has_been_written_stays(tmp_path):
    with claimed(tmp_path):
        pass
    with claimed(tmp_path / "mine"):
        (tmp_path / "mine" / "metrics.jsonl").touch()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["metrics.jsonl"]


def test_a_finished_run_is_claimed_to_be_resumed_only(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(HoldsRunError, match="already holds a run: add --resume"), claimed(tmp_path):
        pass
    with claimed(tmp_path, resume=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_claim_of_another_process_is_noticed_and_ends_with_it(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "claimed\n"
    with pytest.raises(InUseError, match=f"in use by process {holder.pid} on"), claimed(tmp_path, resume=True):
        pass
    holder.kill()
    holder.communicate()
    with claimed(tmp_path, resume=True):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run", pathlib.Path("/proc/run")):
        with pytest.raises(ValueError, match=f"{folder} cannot be made or written .*--workdir=DIR"), claimed(folder):
            pass


def test_a_lock_that_its_holder_removes_meanwhile_is_not_taken_for_the_folders(tmp_path, monkeypatch):
    """The file is gone between its opening and its locking."""
    import fcntl

    lock, removed = fcntl.flock, []

    def remove_then_lock(descriptor, operation):
        if not removed:
            (tmp_path / LOCK).unlink()
            removed.append(descriptor)
        lock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", remove_then_lock)
    with claimed(tmp_path):
        assert (tmp_path / LOCK).exists()


def test_a_folder_that_its_holder_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    """The folder is gone between its making and the opening of its lock."""
    opened, removed = os.open, []

    def remove_then_open(path, *rest):
        if not removed:
            pathlib.Path(path).parent.rmdir()
            removed.append(path)
        return opened(path, *rest)

    monkeypatch.setattr("os.open", remove_then_open)
    with claimed(tmp_path / "mine"):
        assert (tmp_path / "mine" / LOCK).exists() and removed


def test_new_folders_differ_within_a_second():
    names = {new_folder("mine").name for _ in range(20)}
    assert len(names) == 20 and all(name.startswith("mine-") for name in names)
