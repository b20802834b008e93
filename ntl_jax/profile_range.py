# SPDX-License-Identifier: Apache-2.0
"""The iterations of PPO to trace, as ``--profile`` names them. Loads nothing heavy."""

import re

RANGE = "FIRST:LAST, whole numbers from 1 on, such as 10:12, or 10:10 for one alone"
"""What the option takes."""


def read_range(text: str) -> tuple[int, int]:
    """The numbers of ``FIRST:LAST``; raises a ValueError for anything else.

    Example:
        >>> read_range("10:12")
        (10, 12)
    """
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"{text!r}: must be {RANGE}")
    return int(match[1]), int(match[2])


def written_range(iterations: tuple[int, int]) -> str:
    """The option, as it is typed.

    Example:
        >>> written_range((10, 12))
        '--profile=10:12'
    """
    return "--profile={}:{}".format(*iterations)


def check_range(iterations: tuple[int, int] | None, steps: int, *, done: int = 0) -> None:
    """Raises a ValueError if a run will not reach these iterations.

    Args:
        iterations: the first and the last to trace; None: nothing is.
        steps: ``trainer.steps``.
        done: iterations that the run has behind it.

    Example:
        >>> check_range((10, 12), 11)
        Traceback (most recent call last):
        ...
        ValueError: --profile=10:12: the run has 11 iterations (trainer.steps): choose iterations up to 11
    """
    if iterations is None:
        return
    given, (first, last) = written_range(iterations), iterations
    if not steps:
        raise ValueError(f"{given}: the run has no iterations of PPO (trainer.steps=0): leave --profile out")
    if last > steps:
        raise ValueError(
            f"{given}: the run has {steps:,} iterations (trainer.steps): choose iterations up to {steps:,}"
        )
    if done >= steps:
        raise ValueError(
            f"{given}: the run is done, after {done:,} iterations: raise trainer.steps, or leave --profile out"
        )
    if first <= done:
        raise ValueError(
            f"{given}: the run continues after iteration {done:,}: choose iterations from {done + 1:,} to {steps:,}"
        )
