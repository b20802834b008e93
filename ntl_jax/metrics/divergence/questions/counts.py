# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis is made from: counts of divergent tokens, and means of their divergences."""

import dataclasses
from collections.abc import Sequence

from ntl_jax.metrics.divergence.questions.questions import mean
from ntl_jax.metrics.divergence.questions.token import DivergentToken
from ntl_jax.metrics.divergence.questions.welch import Welch


@dataclasses.dataclass(frozen=True)
class Side:
    """Some tokens: how many, and the mean of their divergences; None: unknown.

    Example:
        >>> Side(12, 0.9).count
        12
    """

    count: int = 0
    mean: float | None = None


@dataclasses.dataclass(frozen=True)
class Counts:
    """Counts of a log.

    Args:
        tokens: all.
        not_finite: without a divergence, because a log-prob was not finite.
        correct, incorrect: from answers that are right, or wrong; the rest is unknown.
        digits, others: digits, and other tokens; the rest is unknown.
        correct_digits, incorrect_digits: of the digits, those from right and wrong answers.
        fresh, older: sampled by the weights in training, or by older ones; the rest is unknown.
        first_half, second_half: iterations with lines in either half of the iterations.
        welch: the test of digits against others.

    Example:
        >>> Counts(tokens=20, correct=Side(18, 0.9), incorrect=Side(2, 0.8)).correct.count
        18
    """

    tokens: int
    not_finite: int = 0
    correct: Side = Side()
    incorrect: Side = Side()
    digits: Side = Side()
    others: Side = Side()
    correct_digits: Side = Side()
    incorrect_digits: Side = Side()
    fresh: Side = Side()
    older: Side = Side()
    first_half: int = 0
    second_half: int = 0
    welch: Welch | None = None


def count(tokens: Sequence[DivergentToken], welch: Welch | None = None) -> Counts:
    """Counts the tokens of a log.

    Example:
        >>> tokens = [DivergentToken(0.9, 1, is_correct=True, is_digit=True), DivergentToken(0.8, 2)]
        >>> counts = count(tokens)
        >>> counts.tokens, counts.correct, counts.correct_digits.count
        (2, Side(count=1, mean=0.9), 1)
    """
    digits = [token for token in tokens if token.is_digit is True]
    iterations = {token.iteration for token in tokens if token.iteration is not None}
    middle = (min(iterations) + max(iterations)) / 2 if iterations else 0
    return Counts(
        tokens=len(tokens),
        not_finite=sum(token.divergence is None for token in tokens),
        correct=_side([token for token in tokens if token.is_correct is True]),
        incorrect=_side([token for token in tokens if token.is_correct is False]),
        digits=_side(digits),
        others=_side([token for token in tokens if token.is_digit is False]),
        correct_digits=_side([token for token in digits if token.is_correct is True]),
        incorrect_digits=_side([token for token in digits if token.is_correct is False]),
        fresh=_side([token for token in tokens if token.staleness == 0]),
        older=_side([token for token in tokens if token.staleness]),
        first_half=sum(iteration < middle for iteration in iterations),
        second_half=sum(iteration > middle for iteration in iterations),
        welch=welch,
    )


def _side(tokens: Sequence[DivergentToken]) -> Side:
    return Side(len(tokens), mean(token.divergence for token in tokens))
