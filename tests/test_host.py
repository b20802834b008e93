# SPDX-License-Identifier: Apache-2.0
"""What a command says before JAX starts, in processes of their own."""

import os
import subprocess
import sys

import pytest

PRINT_DEVICES = (
    "import jax; from ntl_jax.host import use_every_core; use_every_core({}); print(jax.device_count('cpu'))"
)


@pytest.mark.parametrize(
    ("rows", "environment", "expected"),
    [
        ((64, 48), {}, "2"),  # 16 divides both, and each device has its 8
        ((64, 12), {}, "1"),
        ((64,), {"JAX_NUM_CPU_DEVICES": "3"}, "3"),
        ((64,), {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, "5"),
    ],
)
def test_a_core_is_a_device_where_rows_divide_and_nothing_else_was_asked_for(rows, environment, expected):
    unset = {name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    if len(os.sched_getaffinity(0)) < 2 and not environment:
        pytest.skip("one core")
    command = [sys.executable, "-c", PRINT_DEVICES.format(", ".join(map(str, rows)))]
    process = subprocess.run(command, capture_output=True, text=True, env=unset | environment, check=True)
    assert process.stdout.strip() == expected
