# SPDX-License-Identifier: Apache-2.0
"""Real processes that die: a run killed at any moment and resumed equals the one that was left alone."""

import dataclasses
import json
import multiprocessing
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import pytest

from launch import train
from ntl_jax.metrics import read_lines

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config_option(tiny, tmp_path_factory):
    """The tiny run with frequent evaluations and checkpoints, as a configuration file."""
    file = tmp_path_factory.mktemp("config") / "tiny.py"
    file.write_text(
        "import json\nfrom ntl_jax.config import RunConfig, from_dict\n\n\ndef get_config():\n"
        f"    return from_dict(RunConfig, json.loads({json.dumps(dataclasses.asdict(tiny))!r}))\n"
    )
    changes = {"steps": 6, "save_every": 1, "eval_every": 2}
    return [f"--config={file}", *(f"--config.trainer.{name}={value}" for name, value in changes.items())]


@pytest.fixture(scope="module")
def start(config_option):
    """Starts or resumes the run of a folder, in a process forked from one that has done the imports."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),  # pyright: ignore[reportAttributeAccessIssue]
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_NUM_CPU_DEVICES": "8",
    }
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["launch.train", "ntl_jax.train"])

    def start(folder: pathlib.Path):
        begun = ["--resume"] if (folder / "config.json").exists() else config_option
        process = context.Process(target=train.main, args=([f"--workdir={folder}", *begun],))
        process.start()
        return process

    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield start


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    """What a run leaves that nobody disturbs, and its seconds once everything is compiled."""
    folders = tmp_path_factory.mktemp("runs")
    start(folders / "compiles").join()
    began = time.monotonic()
    start(folders / "run").join()
    return left_by(folders / "run"), time.monotonic() - began


def left_by(folder: pathlib.Path):
    """Everything that a run wrote of itself, but for timings."""
    lines = [
        {name: value for name, value in line.items() if not name.startswith(("timing_s", "perf"))}
        for line in read_lines(folder / "metrics.jsonl")
    ]
    others = [folder / "samples.jsonl", *sorted((folder / "evaluations").iterdir())]
    return lines, {path.name: path.read_text() for path in others}


@pytest.mark.timeout(900)  # every life of the run is started anew, and on a busy machine that takes its time
@pytest.mark.parametrize("num_kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_equals_the_uninterrupted_one(start, uninterrupted, tmp_path, num_kills):
    expected, seconds = uninterrupted
    moments = random.Random(num_kills)
    kills = runs = 0
    while True:
        folder = tmp_path / str(runs)
        process = start(folder)
        process.join(moments.uniform(0, seconds) if kills < num_kills else None)
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            continue
        assert left_by(folder) == expected
        runs += 1
        if kills == num_kills:
            break


@pytest.mark.slow
def test_sigterm_ends_a_run_after_a_checkpoint_and_says_how_to_go_on(config_option, uninterrupted, tmp_path):
    command = [sys.executable, "launch/train.py", f"--workdir={tmp_path / 'run'}"]
    process = subprocess.Popen([*command, *config_option], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < 6):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    _, shown = process.communicate()
    assert process.returncode == 143
    assert "which is saved; continue with: python launch/train.py --workdir=" in shown
    stopped = read_lines(metrics)[-1]
    assert (tmp_path / "run" / "checkpoints" / stopped["stage"] / str(stopped["step"])).is_dir()
    subprocess.run([*command, "--resume"], cwd=ROOT, check=True)
    assert left_by(tmp_path / "run") == uninterrupted[0]
