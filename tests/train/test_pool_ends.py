# SPDX-License-Identifier: Apache-2.0
"""However a run with a pool ends, its workers and Ray's processes end too. Real commands, each with a private Ray."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable

import pytest

from ntl_jax.metrics import read_lines
from tests.conftest import write_inputs

pytestmark = pytest.mark.pool

ROOT = pathlib.Path(__file__).parents[2]
MARK = "NTL_JAX_TEST_RUN"
"""An environment variable that all processes of a run have in common."""
OPTIONS = ["--config.rollout.engine=pool", "--config.rollout.slots=4", "--config.trainer.steps=100000"]


FAILS = """
calls = []
def score(*, data_source, solution_str, ground_truth, extra_info):
    calls.append(solution_str)
    return 1 / (len(calls) == 1)
"""
"""A reward function of which the trial call alone returns a score."""


def alive(mark: str) -> dict[int, str]:
    """The processes of a run, and their commands; those that have ended and wait for their parent are none."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")[:80]
        except OSError:  # it has just ended
            continue
    return found


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def start(tiny, tmp_path):
    """Starts a run, and waits until it has sampled an iteration; what is left of it at the end is killed."""
    write_inputs(tiny, tmp_path / "inputs")
    mark = uuid.uuid4().hex

    def started(*options: str, reward: str = "") -> tuple[subprocess.Popen, str]:
        if reward:
            (tmp_path / "inputs" / "reward.py").write_text(reward)
        command = [sys.executable, "launch/train.py", f"--config={tmp_path / 'inputs' / 'config.py'}", *OPTIONS]
        run = subprocess.Popen(
            [*command, f"--workdir={tmp_path / 'run'}", *options],
            cwd=ROOT,
            env=os.environ | {MARK: mark, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return run, mark

    yield started
    for pid in alive(mark):
        os.kill(pid, signal.SIGKILL)


def sampling(run: subprocess.Popen, folder: pathlib.Path, mark: str) -> None:
    """Waits until a run is in its second iteration, with both workers."""
    metrics = folder / "metrics.jsonl"
    assert until(lambda: run.poll() is not None or (metrics.exists() and len(read_lines(metrics)) >= 7), 120)
    assert run.poll() is None, run.stderr.read()  # pyright: ignore
    assert sum("ray::Worker" in command for command in alive(mark).values()) == 2


@pytest.mark.parametrize(
    ("stop", "to_all", "code"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, False, 143),
    ],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_run_that_is_stopped_leaves_no_process(start, tmp_path, stop, to_all, code):
    """A terminal sends the signal to all processes."""
    run, mark = start()
    sampling(run, tmp_path / "run", mark)
    os.killpg(run.pid, stop) if to_all else run.send_signal(stop)
    _, shown = run.communicate(timeout=60)
    assert run.returncode == code and "which is saved; continue with" in shown, shown
    assert until(lambda: not alive(mark), 5), alive(mark)


def test_a_run_that_fails_leaves_no_process(start, tmp_path):
    run, mark = start(reward=FAILS)
    _, shown = run.communicate(timeout=120)
    assert run.returncode == 1 and "the reward function failed on all 16 samples" in shown, shown
    assert until(lambda: not alive(mark), 5), alive(mark)


def test_after_a_run_is_killed_its_workers_end_within_ten_seconds(start, tmp_path):
    """And Ray's store of objects; two of its agents look after their parent only now and then."""
    run, mark = start()
    sampling(run, tmp_path / "run", mark)
    run.kill()
    with run:  # closes its pipe
        run.wait()
    agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    assert until(lambda: all(command.startswith(agents) for command in alive(mark).values()), 10), alive(mark)
