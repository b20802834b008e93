# SPDX-License-Identifier: Apache-2.0
"""Arrays over the devices of several processes. With one process these are JAX's own functions."""

import math
from collections.abc import Mapping
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import PyTree

from ntl_jax.processes.exchange import num_processes

Tree = TypeVar("Tree")


def place(tree: PyTree, sharding: Sharding) -> PyTree:
    """Arrays of the host on the devices of a sharding; each process places its part, and must hold all of it.

    Args:
        tree: arrays of the host, the same ones in all processes.
        sharding: of each of them.

    Example:
        >>> place({"x": np.arange(2)}, jax.sharding.SingleDeviceSharding(jax.devices()[0]))["x"].tolist()
        [0, 1]
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def placed(x: np.ndarray) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda part: x[part])

    return jax.tree.map(placed, tree)


def fetch(tree: PyTree) -> PyTree:
    """Whole arrays on the host, as ``jax.device_get``; other processes send their parts, so all must call it.

    Args:
        tree: arrays on devices or on the host; other leaves stay as they are.

    Example:
        >>> fetch({"x": jax.numpy.arange(2), "y": None})
        {'x': array([0, 1], dtype=int32), 'y': None}
    """
    leaves, structure = jax.tree.flatten(tree)
    apart = [i for i, leaf in enumerate(leaves) if not _is_here(leaf)]
    if apart:
        for i, whole in zip(
            apart, multihost_utils.process_allgather([leaves[i] for i in apart], tiled=True), strict=True
        ):
            leaves[i] = whole
    return jax.device_get(jax.tree.unflatten(structure, leaves))


def host_or_here(tree: PyTree) -> PyTree:
    """The tree, or where parts of it lie with other processes, all of it on the host.

    Example:
        >>> host_or_here(jax.numpy.arange(2)).tolist()
        [0, 1]
    """
    return tree if all(map(_is_here, jax.tree.leaves(tree))) else fetch(tree)


def _is_here(leaf: object) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated


def local_mesh(mesh: Mesh) -> Mesh:
    """A mesh of this process's devices of a mesh over (data, fsdp, tensor), of equally many in each process.

    ``tensor`` is the greatest common divisor of itself and their number; where the parameters are sharded over
    ``fsdp``, they are over the other devices too.

    Example:
        >>> from ntl_jax.models import make_mesh
        >>> mesh = make_mesh((1, 1, 1), jax.devices()[:1])
        >>> local_mesh(mesh) is mesh
        True
    """
    if not mesh.is_multi_process:
        return mesh
    devices = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    shape = local_sizes(mesh.shape, len(devices))
    return Mesh(np.array(devices).reshape(shape), mesh.axis_names, axis_types=(AxisType.Auto,) * 3)


def local_sizes(sizes: Mapping[str, int], num_devices: int) -> tuple[int, int, int]:
    """The sizes of the `local_mesh` of a process.

    Args:
        sizes: of the mesh over the devices of all processes, by axis.
        num_devices: of the process.

    Example:
        >>> local_sizes({"data": 1, "fsdp": 8, "tensor": 2}, 4)
        (1, 2, 2)
    """
    tensor = math.gcd(sizes["tensor"], num_devices)
    rest = num_devices // tensor
    return (1, rest, tensor) if sizes["fsdp"] > 1 else (rest, 1, tensor)


def local_copy(params: Tree, local: PyTree[NamedSharding]) -> Tree:
    """Parameters over the devices of all processes, whole on this process's devices; all processes must call it.

    Args:
        params: over a mesh of several processes.
        local: the sharding of each on the `local_mesh`.

    Returns:
        Arrays of this process; where they were whole on its devices before, in the same memory.
    """
    return jax.tree.map(_local, params, local)


def _local(x: jax.Array, local: NamedSharding) -> jax.Array:
    if not (x.is_fully_replicated and local.is_fully_replicated):
        of_all = x.sharding
        assert isinstance(of_all, NamedSharding)
        devices = sorted(_mesh(of_all).devices.flat, key=lambda device: device.process_index)
        by_process = np.array(devices).reshape(num_processes(), *local.mesh.shape.values())
        every = Mesh(by_process, ("process", *local.mesh.axis_names), axis_types=(AxisType.Auto,) * 4)
        x = jax.device_put(x, NamedSharding(every, PartitionSpec(*local.spec)))
    parts = {shard.device: shard.data for shard in x.addressable_shards}
    arrays = [parts[device] for device in _mesh(local).devices.flat]
    return jax.make_array_from_single_device_arrays(x.shape, local, arrays)


def _mesh(sharding: NamedSharding) -> Mesh:
    assert isinstance(sharding.mesh, Mesh)
    return sharding.mesh
