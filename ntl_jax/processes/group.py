# SPDX-License-Identifier: Apache-2.0
"""Which processes train together: from settings, or from what SLURM, Open MPI, Kubernetes and TPU slices say."""

import dataclasses
import glob
import importlib.util
import re
import zlib
from collections.abc import Collection, Mapping

LOWEST_PORT, NUM_PORTS = 61_440, 4_096
"""Ports of coordinators that nobody named: two jobs on one machine rarely get the same one."""
TPU, TPU_PORT = "the TPU slice", 8_476
ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
"""Variables for processes that are started by hand; a setting comes before its variable."""
COMPLETION_INDEX = "JOB_COMPLETION_INDEX"
"""Variable with the number of a pod of an indexed Kubernetes job."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Processes that train together, and which of them this one is.

    Args:
        launcher: what says so, for messages.
        coordinator: HOST:PORT at which the first process listens; None: JAX finds out all three by itself.
        num_processes: how many there are.
        process_id: number of this process, from 0.
        local_id, num_local: number of this process among those of its machine, and how many these are; None: it is not
            known, and the process uses all accelerators that it sees.
    """

    launcher: str
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_id: int | None = None
    num_local: int | None = None

    def local_devices(self, num_devices: int, shown: Collection[str] = ()) -> list[int] | None:
        """Numbers of this process's GPUs among those that it sees: they are dealt in contiguous blocks.

        Args:
            num_devices: how many GPUs this process sees.
            shown: CUDA_VISIBLE_DEVICES of the machine's processes; if they differ, each process sees its own GPUs.

        Returns:
            None: all, since it is alone on its machine, or since its launcher lets it see its own GPUs only.

        Raises:
            ValueError: if there is not the same number of GPUs for each process.

        Example:
            >>> Group("SLURM", "node1:61440", 8, 5, local_id=1, num_local=4).local_devices(8)
            [2, 3]
        """
        if self.local_id is None or self.num_local is None or self.num_local == 1:
            return None
        if num_devices < self.num_local or len(set(shown)) > 1:  # the launcher shows each some of the machine's
            return None
        if num_devices % self.num_local:
            raise ValueError(
                f"{self.num_local} processes on this machine cannot share {num_devices} GPUs equally: start a number "
                f"of processes that divides {num_devices}, or show each of them one GPU by CUDA_VISIBLE_DEVICES"
            )
        share = num_devices // self.num_local
        return [self.local_id * share + i for i in range(share)]


def is_on_tpu() -> bool:
    """Whether this machine has TPUs, and the package that uses them."""
    return importlib.util.find_spec("libtpu") is not None and bool(
        glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*")
    )


def find_group(
    mode: str,
    environ: Mapping[str, str],
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    on_tpu: bool = False,
) -> Group | None:
    """The group that this process belongs to; None: it trains alone.

    Args:
        mode: ``auto``: with others if settings or environment say so; ``on``: with others in any case; ``off``: alone.
        environ: the process's environment.
        coordinator, num_processes, process_id: settings of this name; None: the environment says it.
        on_tpu: whether this machine has TPUs, whose metadata JAX can ask.

    Raises:
        ValueError: for settings and variables that are incomplete or contradict each other; with ``on``, if nothing
            says who the others are.

    Example:
        >>> variables = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        ...              "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
        >>> group = find_group("auto", variables, coordinator="localhost:9000")
        >>> group.process_id, group.num_processes, group.coordinator
        (1, 2, 'localhost:9000')
        >>> find_group("auto", {}) is None
        True
    """
    if mode == "off":
        return None
    given: dict[str, str | int | None] = {
        "coordinator": coordinator or environ.get(ADDRESS) or None,
        "num_processes": _number(environ, COUNT) if num_processes is None else num_processes,
        "process_id": _number(environ, NUMBER) if process_id is None else process_id,
    }
    given = {name: value for name, value in given.items() if value is not None}
    # mpirun within a job of SLURM has the variables of both.
    group = _of_open_mpi(environ) or _of_slurm(environ) or _of_tpu(environ)
    if group is None and given:
        group = Group("the command or its environment", process_id=_number(environ, COMPLETION_INDEX))
    elif group is None and mode == "on" and on_tpu:
        group = Group(TPU)
    return _checked(group and dataclasses.replace(group, **given), mode)


def _of_open_mpi(environ: Mapping[str, str]) -> Group | None:
    count, number = (_number(environ, f"OMPI_COMM_WORLD_{name}") for name in ("SIZE", "RANK"))
    if count is None or number is None:
        return None
    local_id, num_local = (_number(environ, f"OMPI_COMM_WORLD_LOCAL_{name}") for name in ("RANK", "SIZE"))
    launcher = environ.get("OMPI_MCA_orte_hnp_uri", "")
    job = launcher.partition(".")[0] or environ.get("PMIX_NAMESPACE", "").partition("@")[0]
    host = "127.0.0.1" if num_local == count else None
    if host is None and (found := re.search(r"tcp://([^,:/]+)|tcp6://\[([^\],]+)", launcher)):
        host = found[1] or f"[{found[2]}]"
    return Group("Open MPI", host and f"{host}:{_port(job)}", count, number, local_id, num_local)


def _of_slurm(environ: Mapping[str, str]) -> Group | None:
    """The tasks of a job step; a job's script itself, which srun did not start, is no task."""
    nodes = environ.get("SLURM_STEP_NODELIST")
    if nodes is None and "SLURM_STEP_ID" in environ:
        nodes = environ.get("SLURM_NODELIST") or environ.get("SLURM_JOB_NODELIST")
    number, count = _number(environ, "SLURM_PROCID"), _number(environ, "SLURM_STEP_NUM_TASKS")
    count = _number(environ, "SLURM_NTASKS") if count is None else count
    if not nodes or number is None or count is None or "SLURM_JOB_ID" not in environ:
        return None
    if count == 1:
        return None
    local_id = _number(environ, "SLURM_LOCALID")
    if "SLURM_GPUS_PER_TASK" in environ or "gpu" in environ.get("SLURM_TRES_PER_TASK", ""):
        local_id = None  # each task sees its own GPUs only
    per_node = _repeated(environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get("SLURM_TASKS_PER_NODE") or "")
    node = _number(environ, "SLURM_NODEID")
    if node is None:
        node = 0 if len(set(per_node)) == 1 else len(per_node)
    num_local = per_node[node] if node < len(per_node) else None
    step = environ["SLURM_JOB_ID"], environ.get("SLURM_STEP_ID", "0")
    return Group("SLURM", f"{_first_host(nodes)}:{_port('.'.join(step))}", count, number, local_id, num_local)


def _of_tpu(environ: Mapping[str, str]) -> Group | None:
    """The hosts of a slice as GKE says them; several slices are JAX's to find out."""
    hosts = [host for host in environ.get("TPU_WORKER_HOSTNAMES", "").split(",") if host.strip()]
    if hosts and "MEGASCALE_NUM_SLICES" in environ:
        return Group(TPU)
    number = _number(environ, "TPU_WORKER_ID") if len(hosts) > 1 else None
    if number is None:
        return None
    return Group(TPU, f"{hosts[0].strip().partition(':')[0]}:{TPU_PORT}", len(hosts), number)


def _checked(group: Group | None, mode: str) -> Group | None:
    """The group, or None for one process; raises a ValueError as `find_group`."""
    if group is None and mode == "on":
        raise ValueError(
            "trainer.distributed='on': nothing says which processes train together: start them with srun, mpirun or on "
            "a TPU slice, or set trainer.coordinator=HOST:PORT, trainer.num_processes and trainer.process_id"
        )
    if group is None or (group.launcher == TPU and group.coordinator is None):
        return group
    if group.num_processes == 1 and mode == "auto":
        return None
    missing = {
        f"trainer.coordinator=HOST:PORT (or the variable {ADDRESS})": group.coordinator,
        f"trainer.num_processes (or {COUNT})": group.num_processes,
        f"trainer.process_id (or {NUMBER})": group.process_id,
    }
    if lacking := [name for name, value in missing.items() if value is None]:
        raise ValueError(
            f"training in several processes, as {group.launcher} asks for, needs {' and '.join(lacking)}; "
            "trainer.distributed=off trains alone"
        )
    assert group.coordinator is not None and group.num_processes is not None and group.process_id is not None
    host, _, port = group.coordinator.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"trainer.coordinator={group.coordinator!r}: must be HOST:PORT, the address of the first process and a "
            "free port there, such as node1:9000"
        )
    if group.num_processes < 2:
        raise ValueError(
            f"trainer.distributed='on' with trainer.num_processes={group.num_processes}: there are no others to train "
            "with; start several processes, or set trainer.distributed to 'auto' or 'off'"
        )
    if not 0 <= group.process_id < group.num_processes:
        raise ValueError(
            f"trainer.process_id={group.process_id}: must lie in [0, {group.num_processes}), since there are "
            f"{group.num_processes} processes"
        )
    return group


def _number(environ: Mapping[str, str], name: str) -> int | None:
    """The variable as an integer; None if it is not there or empty."""
    if not (text := environ.get(name, "").strip()):
        return None
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"the variable {name}={text!r} must be an integer of at least 0")
    return int(text)


def _port(job: str) -> int:
    return LOWEST_PORT + zlib.crc32(job.encode()) % NUM_PORTS


def _first_host(nodes: str) -> str:
    """The first host of SLURM's short form of a list.

    Example:
        >>> [_first_host(nodes) for nodes in ("a1,b2", "a[01-04,7],b2", "rack2-n[7,9]-ib")]
        ['a1', 'a01', 'rack2-n7-ib']
    """
    first = re.match(r"(?:\[[^\]]*\]|[^,\[])+", nodes)
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0]) if first else nodes


def _repeated(counts: str) -> list[int]:
    """SLURM's short form of a number for each node.

    Example:
        >>> _repeated("2(x3),1")
        [2, 2, 2, 1]
    """
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [int(count) for count, times in found for _ in range(int(times or 1))]
