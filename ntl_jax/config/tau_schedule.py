# SPDX-License-Identifier: Apache-2.0
"""Temperature schedules: ``constant``, or ``SHAPE:FIRST->LAST@STEPS`` with a shape of linear, cosine, exponential."""

import math
import re
from typing import NamedTuple

_NUMBER = r"[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+"
_SCHEDULE = re.compile(rf"(linear|cosine|exponential):({_NUMBER})->({_NUMBER})@([1-9][0-9]*)")

FORM = "be 'constant' or like 'linear:1.0->0.3@500', 'cosine:...', 'exponential:...' with temperatures above 0"


class Schedule(NamedTuple):
    """A temperature that goes from ``first`` to ``last`` over ``steps`` iterations and stays there.

    Example:
        >>> schedule = parse_schedule("linear:1.0->0.3@500")
        >>> [round(schedule.at(iteration), 3) for iteration in (0, 250, 500, 900)]
        [1.0, 0.65, 0.3, 0.3]
    """

    shape: str
    first: float
    last: float
    steps: int

    def at(self, iteration: int) -> float:
        """The temperature of an iteration, counted from 0."""
        done = min(iteration / self.steps, 1.0)
        match self.shape:
            case "cosine":
                done = 0.5 - 0.5 * math.cos(math.pi * done)
            case "exponential":
                return self.first * (self.last / self.first) ** done
        return self.first + (self.last - self.first) * done


def parse_schedule(text: str) -> Schedule | None:
    """The schedule that a text describes; None if it is not a valid schedule.

    Example:
        >>> parse_schedule("cosine:2->0.5@100")
        Schedule(shape='cosine', first=2.0, last=0.5, steps=100)
        >>> parse_schedule("linear:1.0->0@500") is None
        True
    """
    if (match := _SCHEDULE.fullmatch(text)) is None:
        return None
    shape, first, last, steps = match.groups()
    schedule = Schedule(shape, float(first), float(last), int(steps))
    return schedule if min(schedule.first, schedule.last) > 0 and max(schedule[1:3]) < math.inf else None
