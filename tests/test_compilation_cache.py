# SPDX-License-Identifier: Apache-2.0
"""Programs on disk: a second process loads them, whatever has happened to them, and nobody's choice is overruled."""

import os
import pathlib
import subprocess
import sys
import time
from typing import NamedTuple

import pytest

from ntl_jax.compilation_cache import LOCK, UNUSED_DAYS, cache_key, prepare, user_folder

ROOT = pathlib.Path(__file__).parents[1]
SCRIPT = """
import sys, jax, jax.numpy as jnp
from ntl_jax.compilation_cache import keep_programs
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
folder = keep_programs(sys.argv[1])
result = jax.jit(lambda x: jnp.tanh(x) @ x)(jnp.arange(8.0)).item()
print(folder, result.hex(), sum(name.endswith("/cache_hits") for name in events))
"""


class Life(NamedTuple):
    """What a process did: the folder of its programs, its result, how many programs it loaded, what it said."""

    folder: str
    result: str
    num_loaded: int
    said: str


def life(setting: str, home: pathlib.Path, **environment: str) -> Life:
    """Runs the script in a process of its own, whose user has this cache folder."""
    inherited = {name: text for name, text in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment = inherited | {"XDG_CACHE_HOME": str(home), "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", SCRIPT, setting]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    folder, result, num_loaded = run.stdout.split()
    return Life(folder, result, int(num_loaded), run.stderr)


def test_a_second_process_loads_the_programs_and_one_that_finds_them_damaged_compiles_them_again(tmp_path):
    first, second = life("auto", tmp_path), life("auto", tmp_path)
    folder = tmp_path / "ntl_jax" / "xla" / cache_key()
    assert first.folder == second.folder == str(folder)
    programs = list(folder.glob("*-cache"))
    assert (first.num_loaded, second.num_loaded) == (0, len(programs)) and programs
    for program in programs:
        program.write_bytes(program.read_bytes()[:-9] + b"not zipped")
    damaged = life("auto", tmp_path)
    assert damaged.num_loaded == 0 and "Error reading persistent compilation cache" in damaged.said
    assert first.result == second.result == damaged.result


def test_nothing_is_kept_where_the_user_says_so_and_a_folder_of_the_user_stays_as_it_is(tmp_path):
    assert life("off", tmp_path / "home").folder == "None"
    mine = tmp_path / "mine"
    chosen = life("auto", tmp_path / "home", JAX_COMPILATION_CACHE_DIR=str(mine))
    assert chosen.folder == str(mine) and not (tmp_path / "home").exists()
    assert {path.name for path in mine.iterdir()} == {path.name for path in mine.glob("*-cache")}  # no limit, no lock


def test_a_folder_that_cannot_be_written_costs_one_line(tmp_path):
    (tmp_path / "file").touch()
    told = life(str(tmp_path / "file"), tmp_path)
    assert told.folder == "None" and [line for line in told.said.splitlines() if "warning" in line.lower()] == [
        told.said.strip()
    ]


def test_programs_that_a_killed_process_left_unfinished_are_removed(tmp_path):
    folder = tmp_path / "key"
    prepare(folder)
    for name in ("whole-cache", "whole-atime", "cut-cache"):
        (folder / name).write_bytes(b"x")
    prepare(folder)
    assert {path.name for path in folder.iterdir()} - {LOCK} == {"whole-cache", "whole-atime"}


@pytest.mark.parametrize(("days", "stays"), [(UNUSED_DAYS - 1, True), (UNUSED_DAYS + 1, False)])
def test_folders_for_other_versions_go_after_a_time_without_use(tmp_path, days, stays):
    old, foreign = tmp_path / "old", tmp_path / "foreign"
    prepare(old)
    foreign.mkdir()
    last_use = time.time() - days * 86_400
    for folder in (old, foreign):
        os.utime(folder, (last_use, last_use))
    prepare(tmp_path / "new")
    assert old.exists() == stays and foreign.exists()


def test_the_key_depends_on_the_flags_of_the_compiler(monkeypatch):
    before = cache_key()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert cache_key() != before


def test_the_folder_is_the_users_cache_folder(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/ann")
    assert user_folder("xla") == pathlib.Path("/ann/.cache/ntl_jax/xla")
