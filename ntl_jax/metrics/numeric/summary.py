# SPDX-License-Identifier: Apache-2.0
"""What is measured of many answers, as columns, and its statistic over a group of problems."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from ntl_jax.metrics.numeric.bootstrap import Interval, Statistic, paired_interval

Measures = dict[str, Float[np.ndarray, "problems"]]
"""A column of values by its name; NaN for a problem to which it does not apply."""


def collect_measures(rows: Sequence[Mapping[str, float]]) -> Measures:
    """The columns of what was measured of each problem, in the order in which the names come first.

    Args:
        rows: of each problem, as `ntl_jax.metrics.numeric.numeric_measures` gives them.

    Example:
        >>> columns = collect_measures([{"smape": 0.5}, {"smape": 0.0, "digit/10": 1.0}])
        >>> {name: column.tolist() for name, column in columns.items()}
        {'smape': [0.5, 0.0], 'digit/10': [nan, 1.0]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows], float) for name in names}


def summarize_measures(measures: Measures, group: Bool[np.ndarray, "problems"]) -> dict[str, float]:
    """The mean of each measure over the problems of a group to which it applies; of relative errors the median.

    Args:
        measures: of all problems.
        group: the problems of the group.

    Returns:
        Only measures that apply to a problem of the group.

    Example: the middle one of 0, 0.1 and infinite
        >>> columns = {"median_relative_error": np.array([0.0, np.inf, 0.1]), "exact_match": np.array([1.0, 0.0, 0.0])}
        >>> summarize_measures(columns, np.ones(3, bool))
        {'median_relative_error': 0.1, 'exact_match': 0.3333333333333333}
    """
    summary = {}
    for name, column in measures.items():
        values = column[group & ~np.isnan(column)]
        if len(values):
            summary[name] = float(np.median(values) if _statistic(name) == "median" else np.mean(values))
    return summary


def compare_measures(first: Measures, second: Measures, group: Bool[np.ndarray, "problems"]) -> dict[str, Interval]:
    """The difference of each measure that both have, over the problems of a group, with its interval.

    Args:
        first, second: of two policies, on the same problems.
        group: the problems of the group.

    Example:
        >>> right, wrong = {"exact_match": np.ones(5)}, {"exact_match": np.zeros(5)}
        >>> compare_measures(right, wrong, np.ones(5, bool))
        {'exact_match': Interval(value=1.0, low=1.0, high=1.0)}
    """
    differences = {}
    for name in (name for name in first if name in second):
        applies = group & ~np.isnan(first[name]) & ~np.isnan(second[name])
        if applies.any():
            differences[name] = paired_interval(first[name][applies], second[name][applies], _statistic(name))
    return differences


def _statistic(name: str) -> Statistic:
    return "median" if name.startswith("median") else "mean"
