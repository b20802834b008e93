# SPDX-License-Identifier: Apache-2.0
"""Peaks of memory are reported where the system or the devices know them."""

import jax
import numpy as np

from ntl_jax.metrics.memory import GB, memory_metrics
from ntl_jax.metrics.names import meaning


def test_the_host_peak_grows_with_what_the_process_holds():
    before = memory_metrics()["perf/cpu_memory_used_gb"]
    held = np.ones(int((before + 0.05) * GB) // 8)
    assert memory_metrics()["perf/cpu_memory_used_gb"] >= before + 0.05, held.nbytes


def test_devices_that_report_their_peak_have_a_metric_and_every_metric_has_a_meaning():
    metrics = memory_metrics()
    reports = any("peak_bytes_in_use" in (device.memory_stats() or {}) for device in jax.local_devices())
    assert ("perf/max_memory_allocated_gb" in metrics) == reports
    assert all(meaning(name) for name in ["perf/max_memory_allocated_gb", *metrics])
