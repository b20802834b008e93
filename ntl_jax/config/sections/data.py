# SPDX-License-Identifier: Apache-2.0
"""The settings of problems: where they come from, and which of them are used."""

import dataclasses
import re
from typing import Literal

from ntl_jax.config.setting import Range, at_least, positive, setting, when

_GENERATED = when("data.train", None)
_TIERS: Range[tuple[int, ...]] = Range(
    "be one or more of 1, 2, 3, 4", lambda tiers: bool(tiers) and set(tiers) <= {1, 2, 3, 4}
)
_TEMPLATE: Range[str] = Range("contain {question}, the place of the problem's text", lambda x: "{question}" in x)
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)
"""Names of models and tokenizers on the Hugging Face hub."""
LFS_POINTER = b"version https://git-lfs"
"""How a file starts that git-lfs has left in the place of the one that a setting names."""
MOST_PROBLEMS = 1_000_000
"""A run makes or reads all of them, and keeps them in memory, before it starts."""
PROBLEMS: Range[int] = Range(f"lie in [1, {MOST_PROBLEMS:,}]", lambda x: 1 <= x <= MOST_PROBLEMS)


@dataclasses.dataclass(frozen=True)
class DataSection:
    """Problems to train and evaluate on. Without paths, the built-in generator writes them."""

    train: str | None = None
    """GSM8K jsonl file with `question` and `answer`; None: built-in generator."""
    eval: str | None = None
    """Held-out jsonl file; None: the generator's held-out split (an error if `train` is a file)."""
    on_bad_row: Literal["error", "skip"] = "error"
    """A malformed row stops the run, or is skipped and counted. Text with a special token is malformed."""
    on_long_row: Literal["error", "skip"] = "skip"
    """A prompt or solution longer than the limits below stops the run, or is skipped and counted."""
    max_prompt_tokens: int = setting(384, at_least(1))
    """Longest prompt to use, in tokens."""
    max_solution_tokens: int = setting(
        512, at_least(1), needs=[positive("warm_start.steps") | when(".on_long_row", "error")]
    )
    """Longest reference solution in the warm start, in tokens."""
    template: str = setting("{question}\n", _TEMPLATE)
    r"""The prompt; {question} is replaced by the problem's text. Special tokens in it are encoded as such; the
    tokenizer's begin-of-sequence token is prepended unless the template has one. On the command line \n, \t, \r and \\
    are escapes; every other backslash is kept, including LaTeX commands such as \text."""
    tokenizer: str | None = None
    """Folder or hub name of a tokenizer; None: the one of model.path, or the built-in one with single-digit tokens."""
    tiers: tuple[int, ...] = setting((1, 2), _TIERS, needs=[_GENERATED])
    """Generator: numbers of reasoning steps in problems, each from 1 to 4."""
    max_number: int = setting(40, at_least(5, ": below, some problems have no solution"), needs=[_GENERATED])
    """Generator: largest number in questions of tiers 1 and 2; tiers 3 and 4 go up to ten times as far."""
    num_train: int = setting(20_000, PROBLEMS, needs=[_GENERATED])
    """Generator: number of training problems."""
