# SPDX-License-Identifier: Apache-2.0
"""A process finds its group from settings and from what launchers say; what is incomplete is refused in one line."""

import pytest

from ntl_jax.processes.group import Group, find_group

SLURM = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "gpu[07-08,11]", "SLURM_NTASKS": "6",
    "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
}  # fmt: skip
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}  # fmt: skip
HANDS = {"JAX_COORDINATOR_ADDRESS": "node1:9000", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
TPU = {"TPU_WORKER_HOSTNAMES": "t-0.svc,t-1.svc", "TPU_WORKER_ID": "1"}


def found(environ, **settings) -> Group:
    group = find_group("auto", environ, **settings)
    assert group is not None
    return group


@pytest.mark.parametrize(
    ("environ", "expected"),
    [(SLURM, ("gpu07", 6, 3, 1, 2)), (OPEN_MPI, ("10.96.0.1", 4, 2, 0, 2)), (HANDS, ("node1", 4, 3, None, None)),
     (TPU, ("t-0.svc", 2, 1, None, None))],
)  # fmt: skip
def test_each_launcher_says_who_trains(environ, expected):
    group = found(environ)
    assert group.coordinator is not None
    host = group.coordinator.partition(":")[0]
    assert (host, group.num_processes, group.process_id, group.local_id, group.num_local) == expected


def test_all_processes_of_a_launcher_find_the_same_address():
    assert found(SLURM).coordinator == found(SLURM | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}).coordinator
    assert found(SLURM).coordinator != found(SLURM | {"SLURM_STEP_ID": "1"}).coordinator


def test_mpirun_on_one_machine_needs_no_address_of_its_launcher():
    alone = {k: v for k, v in OPEN_MPI.items() if "hnp" not in k} | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
    assert str(found(alone).coordinator).startswith("127.0.0.1:")
    with pytest.raises(ValueError, match=r"as Open MPI asks for, needs trainer.coordinator=HOST:PORT"):
        find_group("auto", alone | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"})


def test_mpirun_within_a_job_of_slurm_counts():
    assert found(SLURM | OPEN_MPI).launcher == "Open MPI"


def test_settings_come_before_variables():
    group = found(HANDS, coordinator="other:1", num_processes=2, process_id=0)
    assert (group.coordinator, group.num_processes, group.process_id) == ("other:1", 2, 0)
    assert found(SLURM, coordinator="other:1").coordinator == "other:1"


def test_a_pod_of_an_indexed_job_has_its_number():
    assert found({"JOB_COMPLETION_INDEX": "1"}, coordinator="a:1", num_processes=2).process_id == 1
    assert find_group("auto", {"JOB_COMPLETION_INDEX": "1"}) is None  # any indexed job has one


@pytest.mark.parametrize(
    "environ",
    [{}, SLURM | {"SLURM_NTASKS": "1"}, {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0",
                                         "SLURM_NODELIST": "a[1-4]"},
     {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, HANDS | {"JAX_NUM_PROCESSES": "1"}],
)  # fmt: skip
def test_one_process_trains_alone(environ):
    assert find_group("auto", environ) is None


def test_nothing_counts_when_it_is_off():
    assert find_group("off", HANDS) is None


def test_on_a_tpu_that_nobody_describes_jax_finds_out():
    assert find_group("on", {}, on_tpu=True) == Group("the TPU slice")


@pytest.mark.parametrize(
    ("mode", "environ", "settings", "message"),
    [
        ("on", {}, {}, "trainer.distributed='on': nothing says which processes train together"),
        ("on", HANDS | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}, {}, "there are no others to train with"),
        ("auto", HANDS | {"JAX_PROCESS_ID": "4"}, {}, r"trainer.process_id=4: must lie in \[0, 4\)"),
        ("auto", HANDS, {"coordinator": "node1"}, "must be HOST:PORT"),
        ("auto", HANDS, {"coordinator": "node1:http"}, "must be HOST:PORT"),
        ("auto", HANDS | {"JAX_NUM_PROCESSES": "four"}, {}, "JAX_NUM_PROCESSES='four' must be an integer"),
        ("auto", {}, {"num_processes": 2}, r"needs trainer.coordinator=HOST:PORT .* and trainer.process_id"),
    ],
)
def test_what_is_incomplete_or_wrong_is_refused_in_one_line(mode, environ, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        find_group(mode, environ, **settings)
    assert "\n" not in str(error.value)


def test_gpus_are_dealt_to_the_processes_of_a_machine_in_blocks():
    assert [Group("it", local_id=i, num_local=2).local_devices(8) for i in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert Group("it", local_id=0, num_local=1).local_devices(8) is None
    assert Group("it").local_devices(8) is None
    assert found(SLURM | {"SLURM_GPUS_PER_TASK": "4"}).local_devices(4) is None  # each task sees its own
    # So it does where each has a CUDA_VISIBLE_DEVICES of its own; where all have the same, it is the job's.
    halves = ["0,1,2,3", "4,5,6,7"]
    assert [Group("it", local_id=i, num_local=2).local_devices(4, halves) for i in range(2)] == [None, None]
    assert Group("it", local_id=1, num_local=3).local_devices(4, ["0,1", "2,3", "4,5"]) is None
    assert Group("it", local_id=1, num_local=2).local_devices(4, ["4,5,6,7", "4,5,6,7"]) == [2, 3]
    with pytest.raises(ValueError, match="3 processes on this machine cannot share 8 GPUs"):
        Group("it", local_id=0, num_local=3).local_devices(8)
