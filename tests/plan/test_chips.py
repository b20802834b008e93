# SPDX-License-Identifier: Apache-2.0
"""Topologies are read as people write them, and chips have plausible peaks."""

import pytest

from ntl_jax.plan.chips import CHIPS, GIB, read_topology


@pytest.mark.parametrize(
    ("text", "number"), [("v5e:4x4", 16), ("v5p:4x4x4", 64), ("v4:2x2x1", 4), ("h100:8", 8), ("v6e:1x1", 1)]
)
def test_a_topology_has_as_many_devices_as_its_shape(text, number):
    assert read_topology(text).num_devices == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("v5e:4x4", 4),
        ("v5e:2x4", 1),
        ("v6e:4x8", 8),
        ("v5p:2x2x1", 1),
        ("v5p:2x2x2", 2),
        ("v5p:4x4x4", 16),
        ("h100:8", 1),
    ],
)
def test_a_slice_has_hosts_of_four_chips_unless_one_host_has_all(text, number):
    assert read_topology(text).num_hosts == number


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no chip ''"),
        ("v5", "did you mean v5p"),
        ("H100:8", "did you mean h100"),
        ("v5e", "as in v5e:4x4"),
        ("v5e:", "as in v5e:4x4"),
        ("v5e:4", "has 2 axes"),
        ("v5p:4x4", "has 3 axes, such as v5p:4x4x4"),
        ("h100:2x4", "takes a number of GPUs"),
        ("h100:0", "1 to 100,000 chips"),
        ("v5e:0x4", "1 to 100,000 chips"),
        ("v5e:-4x4", "as in v5e:4x4"),
        ("v5e:4x4 ", "as in v5e:4x4"),
        ("v5e:4X4", "as in v5e:4x4"),
        ("h100:999999", "1 to 100,000 chips"),
    ],
)
def test_a_topology_that_cannot_be_is_answered_with_one_that_can(text, says):
    with pytest.raises(ValueError, match="--topology=") as error:
        read_topology(text)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_products_of_float32_are_never_faster_and_a_run_cannot_use_all_memory():
    for chip in CHIPS.values():
        assert chip.float32_tflops <= chip.bfloat16_tflops
        assert 0.9 * chip.memory_gib * GIB < chip.usable_bytes < chip.memory_gib * GIB
