# SPDX-License-Identifier: Apache-2.0
"""What a reward function made of one sample, or of each sample of a group."""

import math
from collections.abc import Collection, Mapping, Set
from typing import NamedTuple, SupportsFloat, SupportsIndex

import numpy as np

LARGEST = 1e6
"""Largest size of a score: sums of squares of larger ones lose their meaning in float32."""
_LONGEST_KEY = 80


class RewardOutcome(NamedTuple):
    """What a reward function made of one sample.

    Args:
        score: float32; NaN where not valid, so that it cannot pass for a score.
        valid: False: the sample must be left out of the update and of its group's mean.
        metrics: the other finite numbers the function returned, by key without control characters.
        error: why it is not valid, with the traceback where there is one.

    Example:
        >>> RewardOutcome.of({"score": 1, "length": 7, "note": "fine"})
        RewardOutcome(score=np.float32(1.0), valid=True, metrics={'length': 7.0}, error=None)
        >>> RewardOutcome.of(math.inf).error
        'score inf: a number from -1e+06 to 1e+06 is needed'
    """

    score: np.float32
    valid: bool
    metrics: Mapping[str, float]
    error: str | None

    @classmethod
    def of(cls, result: object) -> "RewardOutcome":
        """Reads what the function returned: a number, or a dict with ``score``."""
        extras = dict(result) if isinstance(result, Mapping) else {"score": result}
        if "score" not in extras:
            return cls.failed(f"a dict without 'score', but with {sorted(map(_key, extras))}")
        raw = extras.pop("score")
        if (number := _number(raw)) is None:
            return cls.failed(f"score {raw!r:.200} of type {type(raw).__name__}: a number is needed")
        if not abs(number) <= LARGEST:
            return cls.failed(f"score {number:g}: a number from {-LARGEST:g} to {LARGEST:g} is needed")
        others = {_key(key): _number(value) for key, value in extras.items()}
        metrics = {key: x for key, x in others.items() if x is not None and math.isfinite(x)}
        return cls(np.float32(number), True, metrics, None)

    @classmethod
    def failed(cls, error: str) -> "RewardOutcome":
        """The outcome of a call that gave no score."""
        return cls(np.float32(np.nan), False, {}, error)


def outcomes_of_group(result: object, count: int) -> "list[RewardOutcome] | RewardOutcome":
    """Reads what a function in batch form returned: a list with a number, or a dict with ``score``, for each sample.

    Args:
        result: a list, tuple or array.
        count: number of samples in the call.

    Returns:
        An outcome per sample; one for all of them if the result cannot be told apart by sample.

    Example:
        >>> [outcome.valid for outcome in outcomes_of_group([0.5, None, {"score": 1}], 3)]
        [True, False, True]
        >>> outcomes_of_group([0.5], 3).error
        'a result for 3 samples has 1 score: a list with one score per sample is needed'
    """
    needed = "a list with one score per sample is needed"
    if not isinstance(result, Collection) or isinstance(result, str | bytes | Mapping | Set):
        return RewardOutcome.failed(f"result {result!r:.200} of type {type(result).__name__}: {needed}")
    if len(result) != count:
        has, samples = (f"{n} {word}{'s' * (n != 1)}" for n, word in ((len(result), "score"), (count, "sample")))
        return RewardOutcome.failed(f"a result for {samples} has {has}: {needed}")
    return [RewardOutcome.of(score) for score in result]


def _key(key: object) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(key))[:_LONGEST_KEY]


def _number(value: object) -> float | None:
    """The value as a float; None where it is no number."""
    if isinstance(value, str) or not isinstance(value, SupportsFloat | SupportsIndex):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None
