# SPDX-License-Identifier: Apache-2.0
"""Metrics of several samples per problem: share of right samples, at least one of k right, majority answer right."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int


def pass_at_k(num_correct: Int[np.ndarray, "problems"], num_samples: int, k: int) -> Float[np.ndarray, "problems"]:
    """Unbiased estimate of the probability that at least one of k samples is right, given c right among n.

    ``1 - C(n - c, k) / C(n, k)``, as the product of ``(n - c - i) / (n - i)`` over i < k, which cannot overflow.
    Source: Chen et al., 2021, equation 1 (https://arxiv.org/abs/2107.03374).

    Args:
        num_correct: c for each problem.
        num_samples: n, the same for all problems.
        k: at most n.

    Example: 2 of 4 samples are right; 1 of the 6 pairs has no right sample
        >>> pass_at_k(np.array([0, 2, 4]), 4, 2).round(4).tolist()
        [0.0, 0.8333, 1.0]
    """
    assert 1 <= k <= num_samples, f"k={k} of n={num_samples}"
    drawn = np.arange(k)[None, :]
    wrong_left = np.maximum(num_samples - num_correct[:, None] - drawn, 0)
    return 1.0 - np.prod(wrong_left / (num_samples - drawn), axis=1)


def pass_ks(num_samples: int) -> list[int]:
    """The k of the pass@k that are reported: 2, 4, 8, ... and the number of samples.

    Example:
        >>> pass_ks(6), pass_ks(1)
        ([2, 4, 6], [1])
    """
    return sorted({min(2**i, num_samples) for i in range(1, num_samples.bit_length() + 1)})


def majority(answers: Sequence[str | None], correct: Sequence[bool]) -> float:
    """Whether the most frequent answer is right; for ties, the share of right answers among the tied.

    Samples without an answer do not vote. Source: self-consistency, Wang et al., 2022
    (https://arxiv.org/abs/2203.11171), which leaves ties open.

    Args:
        answers: answers of one problem's samples, in one notation; None for no answer.
        correct: whether each answer is right.

    Example:
        >>> majority(["72", "71", "72", None], [True, False, True, False]), majority(["1", "2"], [True, False])
        (1.0, 0.5)
    """
    votes = Counter(answer for answer in answers if answer is not None)
    most = max(votes.values(), default=0)
    winners = {answer for answer, count in votes.items() if count == most}
    right = {answer for answer, ok in zip(answers, correct, strict=True) if ok}
    return len(winners & right) / max(1, len(winners))


def repeated_metrics(
    answers: Sequence[Sequence[str | None]], correct: Bool[np.ndarray, "problems n"]
) -> dict[str, float]:
    """``mean@n``, ``maj@n``, and ``pass@k`` for k = 2, 4, 8, ... and n, averaged over problems.

    Args:
        answers: answers of each problem's n samples.
        correct: whether each answer is right.

    Example:
        >>> repeated_metrics([["5", "6"], ["7", "7"]], np.array([[True, False], [True, True]]))
        {'mean@2': 0.75, 'maj@2': 0.75, 'pass@2': 1.0}
    """
    n = correct.shape[1]
    votes = [majority(given, right) for given, right in zip(answers, correct.tolist(), strict=True)]
    metrics = {f"mean@{n}": float(correct.mean()), f"maj@{n}": float(np.mean(votes))}
    return metrics | {f"pass@{k}": float(pass_at_k(correct.sum(axis=1), n, k).mean()) for k in pass_ks(n)}
