# SPDX-License-Identifier: Apache-2.0
"""The settings of the divergence log: where sampler and trainer disagree about the probability of a token."""

import dataclasses
import re
from typing import Literal

from ntl_jax.config.setting import SHARE, Range, above, at_least, setting, when

_ON = when("divergence.enabled", True)
FIELD = re.compile(r"\{(?P<name>iteration(?::(?P<form>0?\d*d))?|date)\}")
"""What is filled in in a path: ``{iteration}``, ``{iteration:06d}``, ``{date}``."""
_OF_THE_RUN = {
    *("config.json", "environment.json", "metrics.jsonl", "samples.jsonl.gz", "reward_errors.jsonl", "error.txt"),
    *("report.html", "pool.log", "divergence.log", "ntl_debug.log", "non_finite.json"),
}


def _is_path(path: str) -> bool:
    is_file = path.isprintable() and bool(path) and not path.endswith("/") and path not in _OF_THE_RUN
    return is_file and not set(FIELD.sub("", path)) & set("{}") and len(path) < 1000


_PATH: Range[str] = Range(
    "be the path of a file, not one of the run's own, in which {iteration}, {iteration:06d} and {date} may stand",
    _is_path,
)


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
    minibatch. With rollout.max_staleness, such an iteration waits for a few samples of the newest weights, which
    show the engine's share."""
    path: str = setting("divergence.jsonl", _PATH, needs=[_ON])
    """File of the log, in the run folder unless the path is absolute; {iteration}, {iteration:06d} and {date} are
    filled in. Where a run resumes, later lines are removed from files in the run folder, and kept elsewhere."""
    max_megabytes: float = setting(100.0, above(0), needs=[_ON])
    """A file that has grown beyond this becomes FILE.1, and FILE.1 becomes FILE.2."""
    context: int = setting(5, at_least(0), needs=[_ON])
    """Tokens shown before and after a logged token."""
    on_alarm: Literal["warn", "stop"] = setting("warn", needs=[_ON])
    """What an alarm does beyond its line: nothing, or the run stops after the iteration, which is saved."""
