# SPDX-License-Identifier: Apache-2.0
"""Whole runs by several processes: they equal the run of one, end together, and are resumed by any number."""

import dataclasses
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from ntl_jax.metrics import read_lines
from ntl_jax.run_folder import check_free
from tests.conftest import TINY, write_inputs
from tests.gcs_server import MISSING, gcs_server
from tests.processes.programs import __file__ as programs
from tests.processes.together import ROOT, Ended, start, together, wait

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1200)]  # a start that gets stuck is repeated
TRAIN = str(ROOT / "launch" / "train.py")
OF_TIME = re.compile("timing|perf/|cpu_memory")


@pytest.fixture(scope="module")
def configuration(tmp_path_factory) -> str:
    """A run that writes a checkpoint after every second step, in which one minibatch holds all samples."""
    folder = tmp_path_factory.mktemp("inputs") / "inputs"
    write_inputs(
        dataclasses.replace(
            TINY,
            model=dataclasses.replace(TINY.model, mesh=(-1, 1, 1)),
            algorithm=dataclasses.replace(TINY.algorithm, minibatches=1),
            trainer=dataclasses.replace(TINY.trainer, heartbeat_timeout_s=10),
        ),
        folder,
    )
    return f"--config={folder / 'config.py'}"


@pytest.fixture(scope="module")
def of_two(configuration, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    together(2, TRAIN, configuration, f"--workdir={folder}")
    return folder


def values(folder: pathlib.Path, stage: str, first: int = 0) -> list[dict[str, float]]:
    """The metrics of a stage from a step on, without times."""
    lines = [line for line in read_lines(folder / "metrics.jsonl") if line["stage"] == stage and line["step"] >= first]
    return [
        {k: v for k, v in line.items() if not OF_TIME.search(k) and k != "stage" and v is not None} for line in lines
    ]


def assert_close(found: Sequence[Mapping[str, float]], expected: Sequence[Mapping[str, float]], bound: float) -> None:
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for one, other in zip(found, expected, strict=True):
        names = sorted(name for name in other if "rollout_corr" not in name and "mismatch" not in name)
        assert names == sorted(name for name in one if name in names)
        np.testing.assert_allclose([one[n] for n in names], [other[n] for n in names], rtol=bound, atol=bound)


def last_lines(ended: Sequence[Ended]) -> list[str]:
    return [process.err.strip().splitlines()[-1] for process in ended]


def wait_for_lines(folder: pathlib.Path, count: int, processes: Sequence[subprocess.Popen]) -> None:
    path = folder / "metrics.jsonl"
    while not (path.exists() and path.read_bytes().count(b"\n") >= count):
        assert all(process.poll() is None for process in processes), wait(processes)
        time.sleep(0.01)


def test_all_processes_of_a_trainer_have_the_same_metrics_and_weights():
    outputs = [process.out.split() for process in together(2, programs, "trains")]
    assert outputs[0][-2:] == outputs[1][-2:]


def test_a_run_of_two_processes_is_the_run_of_one(configuration, of_two, tmp_path):
    together(1, TRAIN, configuration, f"--workdir={tmp_path / 'run'}", "--config.model.mesh", "1", "1", "1")
    assert_close(values(of_two, "warm_start"), values(tmp_path / "run", "warm_start"), 1e-5)
    assert_close(values(of_two, "ppo"), values(tmp_path / "run", "ppo"), 1e-3)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {path.name for path in of_two.iterdir()} == names


def test_what_four_processes_save_is_resumed_by_two_and_by_one(configuration, of_two, tmp_path):
    folder = tmp_path / "4"
    together(4, TRAIN, configuration, f"--workdir={folder}", "--config.trainer.steps=2")
    for count in (2, 1):
        shutil.copytree(folder, tmp_path / str(count))
        arguments = [f"--workdir={tmp_path / str(count)}", "--resume", "--config.trainer.steps=4"]
        together(count, TRAIN, *arguments)
        assert_close(values(tmp_path / str(count), "ppo", 3), values(of_two, "ppo", 3), 1e-3)


@pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")
def test_what_two_processes_save_in_a_bucket_is_resumed_by_one(configuration, of_two, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with gcs_server("mine") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        elsewhere = "--config.trainer.checkpoint_folder=gs://mine/run"
        together(2, TRAIN, configuration, f"--workdir={folder}", elsewhere, "--config.trainer.steps=2")
        together(1, TRAIN, f"--workdir={folder}", "--resume", "--config.trainer.steps=4")
    assert_close(values(folder, "ppo"), values(of_two, "ppo"), 1e-3)
    assert not (folder / "checkpoints").exists()


def test_a_run_that_loses_a_process_and_is_then_terminated_repeats_and_skips_nothing(configuration, of_two, tmp_path):
    folder = tmp_path / "run"
    processes = start(2, [TRAIN, configuration, f"--workdir={folder}"])
    wait_for_lines(folder, 7, processes)  # two steps of PPO are saved, or are being saved
    processes[1].kill()
    began = time.monotonic()
    ended = wait(processes)
    assert time.monotonic() - began < 30
    assert [process.code for process in ended] == [1, -signal.SIGKILL]
    assert last_lines(ended)[0].startswith("process 2 of 2: has ended without a word, or hangs")
    processes = start(2, [TRAIN, f"--workdir={folder}", "--resume"])
    wait_for_lines(folder, 8, processes)
    processes[1].send_signal(signal.SIGTERM)
    ended = wait(processes)
    if [process.code for process in ended] != [0, 0]:  # it was not at its last step
        assert [process.code for process in ended] == [143, 143]
        assert all("which is saved; continue with: " in line for line in last_lines(ended))
        together(2, TRAIN, f"--workdir={folder}", "--resume")
    for stage in ("warm_start", "ppo"):
        assert_close(values(folder, stage), values(of_two, stage), 1e-5)


def test_a_reward_function_that_fails_on_every_sample_ends_all_processes_alike(configuration, tmp_path):
    reward = tmp_path / "reward.py"
    reward.write_text(
        "def score(data_source, solution_str, ground_truth, extra_info, **kwargs):\n"
        "    return {'score': float(solution_str.rpartition('####')[2])}\n"  # of which an untrained policy writes none
    )
    words = [TRAIN, configuration, f"--workdir={tmp_path / 'run'}", f"--config.reward.function={reward}:score"]
    ended = wait(start(2, words))
    assert [process.code for process in ended] == [1, 1]
    said = [process.err.rpartition("\nprocess ")[2] for process in ended]
    assert said[0].strip() == said[1].strip()
    assert said[0][1:].startswith(" of 2: error: ppo step 1: the reward function failed on all 16 samples")


WITHIN = (
    "import os, runpy, sys; os.chdir(sys.argv.pop()); del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Runs a program in the folder that is its last argument."""


def test_a_process_that_fails_alone_leaves_its_traceback_in_the_run_folder_and_nothing_elsewhere(
    configuration, tmp_path, monkeypatch
):
    inputs, without, folder = (
        pathlib.Path(configuration.partition("=")[2]).parent,
        tmp_path / "without",
        tmp_path / "run",
    )
    for path in (without, tmp_path / "temporary"):
        path.mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    data = "--config.data.train=/proc/self/cwd/problems.jsonl"
    words = ["-c", WITHIN, TRAIN, configuration, f"--workdir={folder}", data]
    ended = wait(start(2, [*words, "--config.trainer.steps=0"], {0: [str(inputs)], 1: [str(inputs)]}))
    assert [process.code for process in ended] == [0, 0], ended
    words = ["-c", WITHIN, TRAIN, f"--workdir={folder}", "--resume", "--config.trainer.steps=1"]
    ended = wait(start(2, words, {0: [str(inputs)], 1: [str(without)]}))
    assert [process.code for process in ended] == [1, 1]
    assert all("process 2 of 2: error: " in line and "problems.jsonl" in line for line in last_lines(ended))
    assert (
        "problems.jsonl' does not exist" in (folder / "error-2.txt").read_text() and not (folder / "error.txt").exists()
    )
    assert not list((tmp_path / "temporary").iterdir())
    ended = wait(start(2, words, {0: [str(inputs)], 1: [str(inputs)]}))
    assert [process.code for process in ended] == [0, 0] and not (folder / "error-2.txt").exists()


def test_the_pool_of_the_first_process_samples_for_all_while_they_train(configuration, of_two, tmp_path):
    pool = ["--config.rollout.engine=pool", "--config.rollout.pool.workers=1", "--config.rollout.max_staleness=1"]
    together(2, TRAIN, configuration, f"--workdir={tmp_path / 'run'}", *pool)
    lines = values(tmp_path / "run", "ppo")
    assert [line["staleness/max"] for line in lines[1:]] == [0, 1, 1, 1]
    same = {"step", "val/accuracy", "critic/score/mean", "actor/loss"}  # the samples of the initial policy
    ours, alone = (
        [{k: line[k] for k in same & line.keys()} for line in of[:2]] for of in (lines, values(of_two, "ppo"))
    )
    assert_close(ours, alone, 1e-3)


@pytest.mark.parametrize(
    ("everywhere", "second", "codes", "line"),
    [
        ([], ["--config.trainer.steps=-1"], [1, 2], "process 2 of 2: error: 1 problem in the configuration:"),
        ([], ["--config.seed=1"], [1, 1], "process {} of 2: error: process 2 of 2 has other settings than the first"),
        (["--config.reward.function=/nowhere.py:score"], [], [1, 1], "process {} of 2: error: reward.function="),
        (["--config.rollout.engine=vllm"], [], [1, 1], "process {} of 2: error: rollout.engine='vllm' samples in one"),
        (["--config.model.mesh", "2", "1", "1"], [], [1, 1], "process {} of 2: error: model.mesh=(2, 1, 1) takes 2 of"),
        (["--config.trainer.devices", "0"], [], [1, 1], "process {} of 2: error: trainer.devices=(0,) numbers"),
    ],
)
def test_what_is_wrong_in_any_process_ends_all_with_one_message(
    everywhere, second, codes, line, configuration, tmp_path
):
    folder = tmp_path / "run"
    ended = wait(start(2, [TRAIN, configuration, f"--workdir={folder}", *everywhere], {1: second}))
    assert [process.code for process in ended] == codes
    ends = [process.err.strip().splitlines() for process in ended]
    messages = [lines[-2 if "problem in" in line else -1] for lines in ends]
    assert messages[0] == messages[1]
    assert messages[0].startswith((line.format(1), line.format(2)))
    check_free(folder)  # which raises where a run has begun
