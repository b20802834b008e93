# SPDX-License-Identifier: Apache-2.0
"""Maps axes of arrays to axes of the mesh, by the table of parameters and rules.

The paths of optimizer moments end in the names of their parameters, so the same lookup shards them.
"""

import math
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.tree_util import KeyPath
from jaxtyping import PyTree

from ntl_jax.host_memory import machine_bytes
from ntl_jax.models.parameters import LAYERS, PARAMETERS, TABLE_NAME, leaf_name, parameter_at, unknown
from ntl_jax.ops import Spread

MESH_AXES = ("data", "fsdp", "tensor")
AnyMesh = Mesh | AbstractMesh
"""Of devices, or of such as need not be there: enough to place shapes."""

Rules = Mapping[str, str | tuple[str, ...] | None]

RULES: Rules = {
    "rows": ("data", "fsdp"),
    "vocab": "tensor",
    "width": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "feed_forward": "tensor",
    "head_dim": None,
    "whole": None,
    LAYERS: None,
}
"""Axes of the mesh, by the meaning of an array's axis."""

MAY_REPLICATE = {"kv_heads"}  # fewer key/value heads than tensor shards; anything else must divide
FACTORED = {
    "v_row",
    "v_col",
    "v",
}  # Adafactor's statistics: over rows, over columns, or one number
OPTIMIZER_CONSTANTS = {"ns_coeffs"}  # arrays that do not belong to a parameter: the coefficients of Muon's iteration


def make_mesh(shape: tuple[int, int, int], devices: Sequence[object] | None = None) -> Mesh:
    """A mesh over (data, fsdp, tensor); one size may be -1: all remaining devices. Without -1, devices may stay idle.

    Args:
        shape: the sizes.
        devices: some of ``jax.devices()``; None: all.

    Raises:
        ValueError: if the sizes need more devices than there are, or do not divide them.

    Example:
        >>> dict(make_mesh((-1, 1, 1), jax.devices()[:1]).shape)
        {'data': 1, 'fsdp': 1, 'tensor': 1}
    """
    devices = jax.devices() if devices is None else devices
    sizes = mesh_sizes(shape, len(devices))
    return jax.make_mesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * 3, devices=devices[: math.prod(sizes)])


def mesh_sizes(shape: tuple[int, int, int], num_devices: int) -> tuple[int, int, int]:
    """The sizes of a mesh, with the one that is -1 filled in.

    Args:
        shape: as for `make_mesh`.
        num_devices: how many there are.

    Raises:
        ValueError: as `make_mesh`.

    Example:
        >>> mesh_sizes((1, -1, 2), 16)
        (1, 8, 2)
    """
    given = math.prod(n for n in shape if n != -1)
    data, fsdp, tensor = (num_devices // given if n == -1 else n for n in shape)
    size = data * fsdp * tensor
    if not 1 <= size <= num_devices or (-1 in shape and size != num_devices):
        raise ValueError(
            f"mesh {dict(zip(MESH_AXES, shape, strict=True))} does not fit {num_devices} devices: the product of its "
            f"sizes may be at most {num_devices}; with one size -1 the others' product must divide {num_devices}"
        )
    return data, fsdp, tensor


def batch_sharding(mesh: AnyMesh) -> NamedSharding:
    """Rows over data and fsdp."""
    return NamedSharding(mesh, P(RULES["rows"]))


def num_row_shards(mesh: AnyMesh) -> int:
    """Number of shards of a batch's rows."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def free_bytes(mesh: Mesh) -> int:
    """Total free memory of the mesh's devices; on CPU, which reports no limit, the machine's memory.

    Other processes' devices count as this one's.
    """
    stats = [device.memory_stats() for device in mesh.local_devices]
    if any(s is None or "bytes_limit" not in s for s in stats):
        here = machine_bytes()
    else:
        here = sum(s["bytes_limit"] - s["bytes_in_use"] for s in stats if s is not None)
    return here * mesh.size // len(stats)


def shardings(tree: PyTree, mesh: AnyMesh, rules: Rules = RULES) -> PyTree[NamedSharding]:
    """The sharding of every leaf of parameters, optimizer states or train states.

    Scalars, ``OPTIMIZER_CONSTANTS`` and statistics with fewer axes than their parameter are replicated. Any other leaf
    must have a row in ``parameters.PARAMETERS`` and that row's axes.

    Args:
        tree: arrays or their shapes.
        mesh: over ``MESH_AXES``.
        rules: used instead of ``RULES``.

    Raises:
        ValueError: naming every leaf that is not in the table or has another number of axes there, every leaf whose
            size is not divisible by its mesh axes, and every leaf with two axes on one mesh axis.
    """
    problems: list[str] = []

    def place(path: KeyPath, leaf: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
        spec, found = _placement(path, leaf.shape, mesh.shape, rules)
        problems.extend(found)
        return NamedSharding(mesh, spec)

    result = jax.tree.map_with_path(place, tree)
    if problems:
        raise ValueError(
            "parameters that do not fit the mesh (change model sizes or model.mesh) or the table:\n  "
            + "\n  ".join(problems)
        )
    return result


def _placement(path: KeyPath, shape: tuple[int, ...], sizes: Mapping[str, int], rules: Rules) -> tuple[P, list[str]]:
    """The sharding of one leaf, and what is wrong with it."""
    name, where = leaf_name(path), jax.tree_util.keystr(path)
    if not shape or name in OPTIMIZER_CONSTANTS:
        return P(), []
    if name not in PARAMETERS:
        return P(), [unknown(path)]
    axes = parameter_at(path).axes
    if len(shape) == len(axes):
        spec, found = partition(shape, axes, sizes, rules)
        return spec, [f"{where}: {problem}" for problem in found]
    if len(shape) < len(axes) and any(getattr(key, "name", None) in FACTORED for key in path):
        return P(), []
    return P(), [f"{where}: {len(shape)} axes, {TABLE_NAME} has {len(axes)} for {name!r}: {', '.join(axes)}"]


def partition(
    shape: Sequence[int],
    axes: Sequence[str],
    sizes: Mapping[str, int],
    rules: Rules = RULES,
) -> tuple[P, list[str]]:
    """The lookup: the partition of an array with these axes over a mesh of these sizes, and what is wrong with it."""
    spec, taken, problems = [], set(), []
    for index, (size, axis) in enumerate(zip(shape, axes, strict=True)):
        target = rules[axis]
        names = () if target is None else (target,) if isinstance(target, str) else target
        shards = math.prod(sizes[name] for name in names)
        if size % shards and axis in MAY_REPLICATE:
            target, names = None, ()
        elif size % shards:
            problems.append(f"axis {index} ({axis}) of size {size} over {'*'.join(names)}={shards}")
        if taken & set(names):
            problems.append(f"axis {index} ({axis}) over {'*'.join(names)}, where another of its axes lies already")
            target = None
        taken |= set(names)
        spec.append(target)
    return P(*spec), problems


def mesh_platform() -> str | None:
    """Platform of the mesh that ``jax.set_mesh`` sets for the caller: "cpu", "gpu" or "tpu"; None without a mesh."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return None if device is None else device.platform


def constraint_mesh() -> jax.sharding.AbstractMesh | None:
    """The mesh that ``jax.set_mesh`` sets for the caller, if it has our axes and more than one device."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh if mesh.axis_names == MESH_AXES and mesh.size > 1 else None


def constrain(x: jax.Array, *axes: str) -> jax.Array:
    """Constrains the sharding of an activation; does nothing without a mesh, or for axes that do not divide."""
    mesh = constraint_mesh()
    if mesh is None:
        return x
    spec, problems = partition(x.shape, axes, mesh.shape)
    return x if problems else jax.lax.with_sharding_constraint(x, spec)


def gathered(x: jax.Array, *axes: str) -> jax.Array:
    """`constrain` for the value alone: the gradient keeps the sharding in which it was summed."""
    return _constrained(x, axes)


_constrained = jax.custom_vjp(lambda x, axes: constrain(x, *axes), nondiff_argnums=(1,))
_constrained.defvjp(lambda x, axes: (constrain(x, *axes), None), lambda axes, _, gradient: (gradient,))


def head_spread(hidden: jax.Array, vocab_size: int) -> Spread | None:
    """How the vocabulary head's arguments lie on the caller's mesh; None: on one device, or they do not divide.

    Args:
        hidden: [B, T, D] hidden states, of which rows are spread.
        vocab_size: of the head.
    """
    mesh = constraint_mesh()
    if mesh is None:
        return None
    (rows, _, _), problems = partition(hidden.shape, ("rows", "whole", "whole"), mesh.shape)
    (vocab, width), more = partition((vocab_size, hidden.shape[-1]), ("vocab", "width"), mesh.shape)
    axes = tuple(axis for axis in rows if mesh.shape[axis] > 1)
    if problems or more or not axes:
        return None
    return Spread(axes, vocab, width if width in axes else None)
