# SPDX-License-Identifier: Apache-2.0
"""The settings of the divergence log: where sampler and trainer disagree about the probability of a token."""

import dataclasses
import string
from typing import Literal

from ntl_jax.config.setting import SHARE, Range, above, at_least, setting, when

_ON = when("divergence.enabled", True)


def _is_path(path: str) -> bool:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(path) if name is not None]
    except ValueError:
        return False
    return bool(path) and path.isprintable() and not path.endswith("/") and set(fields) <= {"iteration", "date"}


_PATH: Range[str] = Range("be the path of a file, in which {iteration} and {date} may stand", _is_path)


@dataclasses.dataclass(frozen=True)
class DivergenceSection:
    """Compares the sampler's probabilities of tokens with the trainer's: metrics, a log of tokens, alarms."""

    enabled: bool = True
    """Off: no comparison, no log and no alarms."""
    threshold: float = setting(0.8, SHARE, needs=[_ON])
    """Tokens are logged in iterations in which the two probabilities of a token differ by this much."""
    top_k: int = setting(5, at_least(1), needs=[_ON])
    """Tokens that such an iteration logs, the most divergent first."""
    every: int = setting(50, at_least(1), needs=[_ON])
    """Every so many iterations, all samples are compared in a forward pass of their own, not only those of the first
    minibatch; with rollout.max_staleness, a few samples of the newest weights show the engine's share."""
    path: str = setting("divergence.jsonl", _PATH, needs=[_ON])
    """File of the log, in the run folder unless the path is absolute; {iteration} and {date} are filled in."""
    max_megabytes: float = setting(100.0, above(0), needs=[_ON])
    """A file that has grown beyond this becomes FILE.1, and FILE.1 becomes FILE.2."""
    context: int = setting(5, at_least(0), needs=[_ON])
    """Tokens shown before and after a logged token."""
    on_alarm: Literal["warn", "stop"] = setting("warn", needs=[_ON])
    """What an alarm does beyond its line: nothing, or the run stops after the iteration, which is saved."""
