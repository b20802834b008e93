# SPDX-License-Identifier: Apache-2.0
"""Accelerators that a run is planned for, with their published peaks.

TPUs: https://cloud.google.com/tpu/docs/v4, /v5e, /v5p, /v6e (peak compute, HBM capacity and bandwidth, bidirectional
inter-chip bandwidth of a chip). Their hosts have four chips each, and a v5e or v6e slice of eight chips has one host:
the tables of slices there. GPUs, all SXM, without sparsity: the data sheets of
https://www.nvidia.com/en-us/data-center/a100, /h100, /h200 and the white papers of Ampere and Hopper. GB/s are 10^9
bytes a second, GiB 2^30 bytes.
"""

import difflib
import math
import re
from typing import Literal, NamedTuple

GIB = 2**30
USABLE = {"tpu": 0.98, "gpu": 0.95}
"""Share of a device's memory that a run can use: TPU programs and the driver keep a part, CUDA's context and libraries
a larger one."""


class Chip(NamedTuple):
    """An accelerator, one device of JAX.

    Args:
        platform: of JAX.
        memory_gib: its memory.
        bfloat16_tflops: peak of matrix products in bfloat16.
        float32_tflops: peak of products of float32 arrays at JAX's default precision: bfloat16 passes on TPU, TF32 on
            GPU.
        memory_gbs: bandwidth of its memory.
        link_gbs: bandwidth of its links to other chips of a slice or machine, both directions together.
        axes: number of axes of a slice's shape, such as 2 for 4x4; 0: a number of GPUs.
        one_host: chips of the largest slice that one host has; 0: all devices are of one machine.
    """

    platform: Literal["tpu", "gpu"]
    memory_gib: float
    bfloat16_tflops: float
    float32_tflops: float
    memory_gbs: float
    link_gbs: float
    axes: int
    one_host: int

    @property
    def usable_bytes(self) -> int:
        """Of its memory, what a run can use."""
        return int(self.memory_gib * GIB * USABLE[self.platform])


CHIPS = {
    "v4": Chip("tpu", 32, 275, 275, 1228, 600, 3, 4),
    "v5e": Chip("tpu", 16, 197, 197, 819, 400, 2, 8),
    "v5p": Chip("tpu", 95, 459, 459, 2765, 1200, 3, 4),
    "v6e": Chip("tpu", 32, 918, 918, 1600, 800, 2, 8),
    "a100": Chip("gpu", 80, 312, 156, 2039, 600, 0, 0),
    "h100": Chip("gpu", 80, 989, 495, 3350, 900, 0, 0),
    "h200": Chip("gpu", 141, 989, 495, 4800, 900, 0, 0),
}
"""By the name in a topology."""
HOST_SHAPE = (2, 2, 1)
"""Chips of each host of a slice that has several, along as many axes as the slice has."""
EXAMPLES = "v5e:4x4, v5p:4x4x4 or h100:8"
MOST_DEVICES = 100_000


class Topology(NamedTuple):
    """Chips of one kind that a run has for itself.

    Args:
        text: as it was given.
        name: of the chip.
        num_devices: how many.
    """

    text: str
    name: str
    num_devices: int

    @property
    def chip(self) -> Chip:
        return CHIPS[self.name]

    @property
    def num_hosts(self) -> int:
        """Hosts of the slice, each of which runs a process; 1 for GPUs."""
        at_most = self.chip.one_host or self.num_devices
        return 1 if self.num_devices <= at_most else -(-self.num_devices // math.prod(HOST_SHAPE))

    @property
    def host(self) -> "Topology":
        """The chips of one of the hosts.

        Example:
            >>> read_topology("v5p:4x4x4").host.text, read_topology("v5e:2x4").host.text
            ('v5p:2x2x1', 'v5e:2x4')
        """
        if self.num_hosts == 1:
            return self
        shape = HOST_SHAPE[: self.chip.axes]
        return Topology(f"{self.name}:{'x'.join(map(str, shape))}", self.name, math.prod(shape))


def read_topology(text: str) -> Topology:
    """A topology from a text such as v5e:4x4 or h100:8.

    Args:
        text: chip and shape.

    Raises:
        ValueError: for an unknown chip, or a shape that it does not have.

    Example:
        >>> read_topology("v5p:4x4x4").num_devices, read_topology("h100:8").chip.platform
        (64, 'gpu')
        >>> read_topology("v5p:4x4x4").num_hosts, read_topology("v5e:2x4").num_hosts
        (16, 1)
        >>> read_topology("v5e:16")
        Traceback (most recent call last):
        ...
        ValueError: --topology=v5e:16: a slice of v5e has 2 axes, such as v5e:4x4
    """
    name, colon, shape = text.partition(":")
    option = f"--topology={text}"
    if name not in CHIPS:
        near = difflib.get_close_matches(name.lower(), CHIPS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"{option}: there is no chip {name!r}; {hint}chips are {', '.join(CHIPS)}, as in {EXAMPLES}")
    axes = CHIPS[name].axes
    example = f"{name}:{'x'.join('4' * axes) if axes else 8}"
    if not colon or not re.fullmatch(r"\d{1,6}(x\d{1,6})*", shape, re.ASCII):
        raise ValueError(f"{option}: the chip's name, a colon and how many there are, as in {example}")
    sizes = [int(size) for size in shape.split("x")]
    if axes and len(sizes) != axes:
        raise ValueError(f"{option}: a slice of {name} has {axes} axes, such as {example}")
    if not axes and len(sizes) != 1:
        raise ValueError(f"{option}: {name} takes a number of GPUs, such as {example}")
    if not 1 <= math.prod(sizes) <= MOST_DEVICES:
        raise ValueError(f"{option}: must be 1 to {MOST_DEVICES:,} chips, such as {example}")
    return Topology(text, name, math.prod(sizes))
