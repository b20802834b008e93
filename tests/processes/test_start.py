# SPDX-License-Identifier: Apache-2.0
"""A group starts, or says in one line why it does not."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from ntl_jax.processes.start import joined
from tests.processes.test_run import TRAIN
from tests.processes.together import ROOT, Ended, wait

ALONE = """
from ntl_jax.processes.group import Group
from ntl_jax.processes.start import joined
try:
    with joined(Group("it", "127.0.0.1:1", 2, {number}), heartbeat_timeout_s=5, start_s=2):
        pass
except ValueError as error:
    raise SystemExit(f"error: {{error}}")
"""


@pytest.mark.processes
@pytest.mark.parametrize(("number", "message"), [(0, "not all have started within 2 s"), (1, "did not answer there")])
def test_a_process_that_stays_alone_says_what_is_missing(number, message):
    run = subprocess.run([sys.executable, "-c", ALONE.format(number=number)], capture_output=True, text=True)
    line = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1
    assert line.startswith("error: trainer.coordinator='127.0.0.1:1': ")
    assert message in line


SHARING = """
import os
from jax._src import xla_bridge
from ntl_jax.processes.group import Group
from ntl_jax.processes.start import joined
address, number = os.environ["ADDRESS"], int(os.environ["NUMBER"])
with joined(Group("it", address, 2, number, local_id=number, num_local=2), heartbeat_timeout_s=5):
    print(xla_bridge.CUDA_VISIBLE_DEVICES.value)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def both(words: Sequence[str], environments: Sequence[Mapping[str, str]]) -> list[Ended]:
    """How two processes end, each with variables of its own."""
    pipe = subprocess.PIPE
    command = [sys.executable, *words]
    environments = [{**os.environ, "PYTHONPATH": str(ROOT), **own} for own in environments]
    return wait([subprocess.Popen(command, env=env, text=True, stdout=pipe, stderr=pipe) for env in environments])


def sharing(shown: Sequence[str]) -> list[Ended]:
    """How two processes of one machine end that print which of the GPUs they use that they see."""
    variables = {"ADDRESS": f"127.0.0.1:{free_port()}", "JAX_PLATFORMS": "cpu"}
    own = [{"NUMBER": str(i), "CUDA_VISIBLE_DEVICES": text} for i, text in enumerate(shown)]
    return both(["-c", SHARING], [variables | one for one in own])


@pytest.mark.processes
@pytest.mark.parametrize(
    ("shown", "own"),
    [
        (("0,1,2,3", "0,1,2,3"), ["0,1", "2,3"]),
        (("0,1,2,3", "4,5,6,7"), ["all", "all"]),
        (("0,1,2", "3,4,5"), ["all", "all"]),
    ],
)
def test_a_process_uses_all_gpus_that_it_alone_sees_and_its_share_of_those_that_all_see(shown, own):
    ended = sharing(shown)
    assert [process.out.split() for process in ended] == [[gpus] for gpus in own], ended


@pytest.mark.processes
def test_gpus_that_cannot_be_dealt_end_all_processes_with_one_message():
    ended = sharing(("0,1,2", "0,1,2"))
    assert [process.code for process in ended] == [1, 1]
    for process in ended:
        line = process.err.strip().splitlines()[-1]
        assert "of 2: error: 2 processes on this machine cannot share 3 GPUs equally" in line


@pytest.mark.processes
def test_only_the_first_process_of_a_group_that_jax_finds_says_that_it_starts(tmp_path):
    """As on TPU VMs, whose hosts only the metadata name. Here JAX reads SLURM's variables, which say less to us."""
    slices = {"TPU_WORKER_HOSTNAMES": "a,b", "MEGASCALE_NUM_SLICES": "2", "SLURM_STEP_NUM_TASKS": "1"}
    slurm = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    words = [TRAIN, "--config=gsm8k_ntl", f"--workdir={tmp_path / 'run'}", "--config.reward.function=/nowhere.py:score"]
    own = [{"SLURM_PROCID": str(number), "SLURM_LOCALID": "0"} for number in range(2)]
    ended = both(words, [slices | slurm | variables for variables in own])
    assert [process.code for process in ended] == [1, 1], ended
    assert ["starting, run folder" in process.out for process in ended] == [True, False]


def test_without_a_group_nothing_is_started():
    with joined(None, heartbeat_timeout_s=1) as watch:
        assert watch is None
