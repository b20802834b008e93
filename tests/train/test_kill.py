# SPDX-License-Identifier: Apache-2.0
"""Real processes that die: a run that is killed and resumed equals the one that was left alone."""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from launch import train
from ntl_jax.metrics import read_lines
from tests.runs import left_by

pytestmark = [pytest.mark.optimized, pytest.mark.timeout(900)]  # processes of their own take their time

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def command(finished, tmp_path) -> Callable[[], list[str]]:
    """The arguments that begin or resume a run like the finished one, with a checkpoint after every step."""
    begins = [f"--config={finished.inputs / 'config.py'}", "--config.trainer.save_every=1"]

    def arguments() -> list[str]:
        begun = ["--resume"] if (tmp_path / "run" / "config.json").exists() else begins
        return [f"--workdir={tmp_path / 'run'}", *begun]

    return arguments


@pytest.fixture
def environment(monkeypatch):
    """Processes use the programs that this one compiled, for as many devices."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "8")


def wait_for_lines(metrics: pathlib.Path, count: int, alive: Callable[[], bool]) -> None:
    """Until so many lines of metrics are written: the checkpoint of that step is being written then."""
    while alive() and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= count):
        time.sleep(0.005)
    assert alive(), "the run ended by itself"


def test_a_run_that_is_killed_and_then_terminated_equals_the_uninterrupted_one(
    command, environment, finished, tmp_path
):
    """Killed in the warm start and in PPO while it saves, then terminated: the last life is a command of its own."""
    metrics = tmp_path / "run" / "metrics.jsonl"
    context = multiprocessing.get_context("forkserver")  # of a process that has done the imports
    context.set_forkserver_preload(["launch.train", "ntl_jax.train"])
    for num_lines in (2, 6):
        process = context.Process(target=train.main, args=(command(),))
        process.start()
        wait_for_lines(metrics, num_lines, process.is_alive)
        process.kill()
        process.join()
    shell = subprocess.Popen(
        [sys.executable, "launch/train.py", *command()], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    wait_for_lines(metrics, 7, lambda: shell.poll() is None)
    os.kill(shell.pid, signal.SIGTERM)
    _, shown = shell.communicate()
    assert shell.returncode == 143
    assert f"which is saved; continue with: python launch/train.py --workdir={tmp_path / 'run'} --resume" in shown
    stopped = read_lines(metrics)[-1]
    assert (tmp_path / "run" / "checkpoints" / stopped["stage"] / str(stopped["step"])).is_dir()
    assert len(left_by(tmp_path / "run")[0]) < len(left_by(finished.folder)[0])
    assert train.main(command()) == 0
    assert left_by(tmp_path / "run") == left_by(finished.folder)
