# SPDX-License-Identifier: Apache-2.0
"""The settings of answers: how a response's answer is found, and when it is right."""

import dataclasses
import re
from typing import Literal

from ntl_jax.config.setting import DECAY, Range, setting, when


def _has_one_group(pattern: str | None) -> bool:
    try:
        return pattern is None or re.compile(pattern).groups == 1
    except (re.error, RecursionError, OverflowError):
        return False


_PATTERN: Range[str | None] = Range(
    "be a regular expression with exactly one group, which holds the answer; (?:...) groups without being one",
    _has_one_group,
)


@dataclasses.dataclass(frozen=True)
class AnswerSection:
    """How the answer of a response is found and compared with the reference. Fractions, percent signs, currencies and
    units are read in any form: 1/2 is 0.5, and 50% is 50, not 0.5."""

    form: Literal["auto", "line", "box", "last_number"] = setting("auto", needs=[when(".pattern", None)])
    r"""line: what follows #### on its line; box: what is in the last \boxed{}; last_number: the last number of all.
    auto: as the task does it; by default the first of these that the response has."""
    pattern: str | None = setting(None, _PATTERN)
    """Regular expression whose last match holds the answer in its only group, such as "answer is (.*)". Where it takes
    longer than a second, there is no answer."""
    tolerance: float = setting(0.0, DECAY)
    """Relative error up to which a number is right: 0.01 takes 99 to 101 for 100. NTL still aims at the true digits."""
    verifier: Literal["none", "math_verify"] = "none"
    """math_verify: an answer is also right if math-verify (extra `math`) finds it equal, such as x + 1 and 1 + x.
    Reference answers may then be any text."""
