# SPDX-License-Identifier: Apache-2.0
"""The devices that train."""

from collections.abc import Sequence

import jax
from jax.sharding import Mesh

from ntl_jax.config import RunConfig
from ntl_jax.models import make_mesh
from ntl_jax.processes.exchange import num_processes


def training_mesh(config: RunConfig) -> Mesh:
    """The mesh of the parameters; several processes train on all their devices."""
    mesh = make_mesh(config.model.mesh, _training_devices(config.trainer.devices))
    if num_processes() == 1:
        if jax.process_count() > 1:
            raise ValueError(
                f"these devices belong to a TPU slice of {jax.process_count()} processes: set trainer.distributed=on"
            )
        return mesh
    if config.trainer.devices:
        raise ValueError(
            f"trainer.devices={config.trainer.devices} numbers the devices of one process, and {num_processes()} "
            "train: leave it empty, and start as many processes as the machines have GPUs, or one on each machine"
        )
    if mesh.size < (count := len(jax.devices())):
        raise ValueError(
            f"model.mesh={config.model.mesh} takes {mesh.size} of the {count} devices of {num_processes()} processes: "
            "several processes train on all of them; set one size to -1"
        )
    return mesh


def _training_devices(chosen: Sequence[int]) -> Sequence[object]:
    """The devices with these indices, or all.

    Of several GPUs, JAX takes memory on each that it sees: where no backend has started, it sees the chosen ones alone.

    Raises:
        ValueError: if there are fewer devices.
    """
    if not chosen:
        return jax.devices()
    jax.config.update("jax_cuda_visible_devices", ",".join(map(str, chosen)))
    devices = jax.devices()
    if devices[0].platform == "gpu" and len(devices) == len(chosen):
        return devices
    if max(chosen) >= len(devices):
        raise ValueError(
            f"trainer.devices={tuple(chosen)}: this machine has {len(devices)} devices, with indices from 0 to "
            f"{len(devices) - 1}"
        )
    return [devices[index] for index in chosen]
