# SPDX-License-Identifier: Apache-2.0
"""How near answers are to the true numbers, over groups of problems, and whether two policies differ."""

from ntl_jax.metrics.numeric.bootstrap import Interval, Statistic, paired_interval
from ntl_jax.metrics.numeric.errors import (
    digits_right,
    numeric_measures,
    order_of_magnitude,
    relative_error,
    symmetric_error,
)
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
    "digits_right",
    "numeric_measures",
    "order_of_magnitude",
    "paired_interval",
    "print_differences",
    "print_summaries",
    "relative_error",
    "summarize_measures",
    "symmetric_error",
]
