# SPDX-License-Identifier: Apache-2.0
"""A run's output: metric lines, samples, progress. Metrics by name: ``metrics.names``; pages: ``metrics.report``."""

from ntl_jax.metrics.atomic_files import write_rows, write_whole
from ntl_jax.metrics.clock import Clock
from ntl_jax.metrics.console import ProgressView, print_comparison, print_header
from ntl_jax.metrics.divergence.debug_metrics import calculate_debug_metrics
from ntl_jax.metrics.names import STAGES
from ntl_jax.metrics.pass_at_k import majority, pass_at_k, pass_ks, repeated_metrics
from ntl_jax.metrics.sums import Mean, MetricSums
from ntl_jax.metrics.trackers.tracker import Tracker, check_installed, finite, open_trackers
from ntl_jax.metrics.writer import MetricWriter, RewardErrorWriter, read_lines

__all__ = [
    "STAGES",
    "Clock",
    "Mean",
    "MetricSums",
    "MetricWriter",
    "ProgressView",
    "RewardErrorWriter",
    "Tracker",
    "calculate_debug_metrics",
    "check_installed",
    "finite",
    "majority",
    "open_trackers",
    "pass_at_k",
    "pass_ks",
    "print_comparison",
    "print_header",
    "read_lines",
    "repeated_metrics",
    "write_rows",
    "write_whole",
]
