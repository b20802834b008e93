# SPDX-License-Identifier: Apache-2.0
"""What a run writes down and shows: metric lines, samples, curves, progress. Names and meanings: ``metrics.names``."""

from ntl_jax.metrics.console import ProgressView, print_comparison, print_header
from ntl_jax.metrics.curves import plot_curves
from ntl_jax.metrics.writer import MetricWriter, RewardErrorWriter, SampleRecord, SampleWriter, read_lines

__all__ = [
    "MetricWriter",
    "ProgressView",
    "RewardErrorWriter",
    "SampleRecord",
    "SampleWriter",
    "plot_curves",
    "print_comparison",
    "print_header",
    "read_lines",
]
