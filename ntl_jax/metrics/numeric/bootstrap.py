# SPDX-License-Identifier: Apache-2.0
"""Whether two policies differ by more than the choice of the problems: a paired bootstrap."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

Statistic = Literal["mean", "median"]
NUM_RESAMPLES = 2_000
"""Ends of 95% intervals then lie within about a twentieth of the interval of those of endlessly many."""
MOST_AT_ONCE = 4_000_000
"""Values drawn at a time, which bounds the memory."""


class Interval(NamedTuple):
    """A difference and where it lies.

    Args:
        value: first minus second; NaN where it is not defined.
        low, high: ends of the interval.
    """

    value: float
    low: float
    high: float


def paired_interval(
    first: Float[np.ndarray, "problems"],
    second: Float[np.ndarray, "problems"],
    statistic: Statistic = "mean",
    *,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The difference of a statistic of two policies on the same problems, with its percentile interval.

    Problems are drawn with replacement, each with both policies' values: what makes a problem hard for both leaves the
    difference alone. Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.

    Args:
        first, second: a value of each problem; infinite values are only for the median.
        statistic: what is compared.
        level: of the interval.
        num_resamples: draws of as many problems as there are.
        seed: of the draws.

    Returns:
        NaN in all three where a draw has no difference: no problems, or medians that are infinite.

    Example: the first policy is right where the second is, and on one problem more
        >>> first, second = np.array([1.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
        >>> paired_interval(first, second)
        Interval(value=0.25, low=0.0, high=0.75)
    """
    assert first.shape == second.shape, f"{first.shape} and {second.shape}: the same problems"
    if not len(first):
        return Interval(np.nan, np.nan, np.nan)
    reduce = np.mean if statistic == "mean" else np.median
    rng, differences = np.random.default_rng(seed), []
    at_once = max(1, min(num_resamples, MOST_AT_ONCE // len(first)))
    with np.errstate(invalid="ignore"):  # infinite minus infinite
        for begin in range(0, num_resamples, at_once):
            drawn = rng.integers(len(first), size=(min(at_once, num_resamples - begin), len(first)))
            differences.append(reduce(first[drawn], axis=1) - reduce(second[drawn], axis=1))
        value = float(reduce(first) - reduce(second))
    drawn_values = np.concatenate(differences)
    if not (np.isfinite(value) and np.isfinite(drawn_values).all()):
        return Interval(np.nan, np.nan, np.nan)
    low, high = np.quantile(drawn_values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
