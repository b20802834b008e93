# SPDX-License-Identifier: Apache-2.0
"""Which axis of which parameter lies on which axis of the mesh: one table, one look-up.

Optimizer moments end in the same names as their parameters, so the same look-up places them.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

MESH_AXES = ("data", "fsdp", "tensor")

PARAMETER_AXES: dict[str, tuple[str | None, ...]] = {
    "embedding": ("tensor", "fsdp"),
    "unembedding": ("fsdp", "tensor"),
    "query": ("fsdp", "tensor", None),
    "key": ("fsdp", "tensor", None),
    "value": ("fsdp", "tensor", None),
    "query_bias": ("tensor", None),
    "key_bias": ("tensor", None),
    "value_bias": ("tensor", None),
    "output": ("tensor", None, "fsdp"),
    "gate": ("fsdp", "tensor"),
    "up": ("fsdp", "tensor"),
    "down": ("tensor", "fsdp"),
    "scale": (None,),
    "value_head": (None,),
}
MAY_REPLICATE = {"key", "value", "key_bias", "value_bias"}  # fewer key/value heads than tensor shards


def make_mesh(shape: tuple[int, int, int], devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over (data, fsdp, tensor); one size may be -1: all devices that are left. Without -1 some may stay idle.

    Raises:
        ValueError: if the sizes need more devices than there are, or do not divide them.

    Example:
        >>> dict(make_mesh((-1, 1, 1), jax.devices()[:1]).shape)
        {'data': 1, 'fsdp': 1, 'tensor': 1}
    """
    devices = jax.devices() if devices is None else devices
    given = math.prod(n for n in shape if n != -1)
    sizes = tuple(len(devices) // given if n == -1 else n for n in shape)
    size = math.prod(sizes)
    if not 1 <= size <= len(devices) or (-1 in shape and size != len(devices)):
        raise ValueError(
            f"mesh {dict(zip(MESH_AXES, shape, strict=True))} does not fit {len(devices)} devices: the product of its "
            f"sizes may be at most {len(devices)}; with one size -1 the others' product must divide {len(devices)}"
        )
    return jax.make_mesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * 3, devices=devices[:size])


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data and fsdp."""
    return NamedSharding(mesh, P(("data", "fsdp")))


def shardings(tree, mesh: Mesh):
    """The sharding of every leaf of parameters, optimizer states or train states; scalars are replicated.

    Raises:
        ValueError: naming every parameter whose size is not divisible by its mesh axes.
    """
    problems: list[str] = []
    result = jax.tree.map_with_path(lambda path, leaf: _sharding(path, leaf, mesh, problems), tree)
    if problems:
        raise ValueError(
            "parameters that do not divide over the mesh (change model sizes or model.mesh):\n  "
            + "\n  ".join(problems)
        )
    return result


def _sharding(path, leaf, mesh: Mesh, problems: list[str]) -> NamedSharding:
    if leaf.ndim == 0:
        return NamedSharding(mesh, P())
    name = next(k.key for k in reversed(path) if isinstance(k, jax.tree_util.DictKey) and k.key in PARAMETER_AXES)
    axes = list(PARAMETER_AXES[name])
    assert len(axes) == leaf.ndim, f"{jax.tree_util.keystr(path)}: {leaf.ndim} axes, the table has {axes}"
    for index, axis in enumerate(axes):
        if axis is None or leaf.shape[index] % mesh.shape[axis] == 0:
            continue
        if name in MAY_REPLICATE and axis == "tensor":
            axes[index] = None
        else:
            problems.append(
                f"{jax.tree_util.keystr(path)}: axis {index} of size {leaf.shape[index]} over {axis}={mesh.shape[axis]}"
            )
    return NamedSharding(mesh, P(*axes))
