# SPDX-License-Identifier: Apache-2.0
"""How near answers are to the true numbers, over groups of problems, and whether two policies differ."""

from ntl_jax.metrics.numeric.bootstrap import Interval, Statistic, paired_interval
from ntl_jax.metrics.numeric.measures import numeric_measures
from ntl_jax.metrics.numeric.summary import (
    Measures,
    collect_measures,
    compare_measures,
    summarize_measures,
)
from ntl_jax.metrics.numeric.tables import print_differences, print_summaries

__all__ = [
    "Interval",
    "Measures",
    "Statistic",
    "collect_measures",
    "compare_measures",
    "numeric_measures",
    "paired_interval",
    "print_differences",
    "print_summaries",
    "summarize_measures",
]
