# SPDX-License-Identifier: Apache-2.0
"""The most memory that this process has held so far, on its devices and on the host."""

import resource
import sys

import jax

GB = 2**30
"""As in verl, whose names the metrics have."""
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system counts resident memory."""


def memory_metrics() -> dict[str, float]:
    """Metrics of the peaks; devices that do not report theirs, such as CPUs, have none.

    Example:
        >>> memory_metrics()["perf/cpu_memory_used_gb"] > 0
        True
    """
    metrics = {"perf/cpu_memory_used_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / GB}
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if peaks := [found["peak_bytes_in_use"] for found in stats if "peak_bytes_in_use" in found]:
        metrics["perf/max_memory_allocated_gb"] = max(peaks) / GB
    return metrics
