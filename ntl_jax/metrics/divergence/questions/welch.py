# SPDX-License-Identifier: Apache-2.0
"""Welch's t-test: whether two kinds of tokens diverge by different means, whatever their variances.

B. L. Welch, "The generalization of 'Student's' problem when several different population variances are involved",
1947, https://doi.org/10.2307/2332510. Importing scipy takes half a second, so a command imports this module late.
"""

import math
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import scipy.stats

from ntl_jax.metrics.divergence.questions.token import DivergentToken

SMALLEST = 1e-99
"""Smaller values of p are not shown: they may have come out as 0."""


class Welch(NamedTuple):
    """The test of digits against other tokens.

    Args:
        t: difference of the means in its standard errors; above 0: digits diverge more.
        df: degrees of freedom.
        p: probability of a difference at least as large between samples of the same mean.

    Example:
        >>> Welch(t=2.0, df=30.0, p=0.0546).shown, Welch(t=265.0, df=57200.0, p=0.0).shown
        ('p = 0.055', 'p < 1e-99')
    """

    t: float
    df: float
    p: float

    @property
    def shown(self) -> str:
        """p for people."""
        return f"p = {self.p:.2g}" if self.p >= SMALLEST else f"p < {SMALLEST:g}"


def digits_against_others(tokens: Iterable[DivergentToken]) -> Welch | None:
    """Tests the divergences of digits against those of other tokens.

    Returns:
        The test; None with fewer than two tokens on a side, or where nothing varies.

    Example:
        >>> digits = [DivergentToken(x, 0, is_digit=True) for x in (0.8, 0.9, 1.0)]
        >>> others = [DivergentToken(x, 0, is_digit=False) for x in (0.2, 0.4, 0.6)]
        >>> test = digits_against_others([*digits, *others])
        >>> round(test.t, 3), round(test.df, 2), round(test.p, 3)
        (3.873, 2.94, 0.032)
    """
    pairs = [(token.is_digit, token.divergence) for token in tokens if token.divergence is not None]
    digits, others = ([divergence for is_digit, divergence in pairs if is_digit is side] for side in (True, False))
    if min(len(digits), len(others)) < 2 or len({*digits}) == len({*others}) == 1:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of values that are almost equal
        test = cast(Any, scipy.stats.ttest_ind(digits, others, equal_var=False))  # its attributes are not declared
    welch = Welch(float(test.statistic), float(test.df), float(test.pvalue))
    return welch if all(map(math.isfinite, welch)) else None
