# SPDX-License-Identifier: Apache-2.0
"""The settings of problems: where they come from, and which of them are used."""

import dataclasses
import re
from typing import Literal

from ntl_jax.config.setting import WEIGHTS, Need, Range, at_least, given, positive, setting, several, when

GYM = "reasoning_gym:"
"""How the names of reasoning-gym's generators begin."""


def is_own(task: object) -> bool:
    """Whether ``data.task`` names a class in a file.

    Args:
        task: the setting.

    Example:
        >>> is_own("mine.py:Mine"), is_own("calculations"), is_own(None)
        (True, False, False)
    """
    return isinstance(task, str) and re.fullmatch(r".+\.py:[A-Za-z_]\w*", task) is not None


Operation = Literal["+", "-", "*"]
_NO_FILE = when("data.train", ())
_WORD_PROBLEMS = (_NO_FILE, when("data.task", None))
_CALCULATIONS = (_NO_FILE, when("data.task", "calculations"))
_BUILT_IN = (_NO_FILE, when("data.task", None, "calculations"))
_MADE = (_NO_FILE, Need("data.task", lambda x: not is_own(x), " to another task: this one has its own number"))
_TAKES_OPTIONS = (
    _NO_FILE,
    Need("data.task", lambda x: is_own(x) or str(x).startswith(GYM), f" to '{GYM}NAME' or 'PATH.py:Class'"),
)
_OPERATIONS: Range[tuple[Operation, ...]] = Range(
    "be one or more of +, -, *, each once", lambda x: bool(x) and len(set(x)) == len(x)
)
_TASK: Range[str | None] = Range(
    "be None, calculations, reasoning_gym:NAME or PATH.py:Class",
    lambda x: x in (None, "calculations") or is_own(x) or (x[: len(GYM)] == GYM and len(x) > len(GYM)),
)
_OPTIONS: Range[tuple[str, ...]] = Range(
    "be texts NAME=VALUE with different names",
    lambda x: (
        all(re.fullmatch(r"[A-Za-z_]\w*=.+", option, re.DOTALL) for option in x)
        and len({option.partition("=")[0] for option in x}) == len(x)
    ),
)
_SOURCES: Range[tuple[str, ...]] = Range(
    "be files or data sets, each named once and none of them blank or None; for the built-in generator leave it out, "
    "or give the option without a value",
    lambda names: len({*names}) == len(names) and all(name.strip() not in ("", "None") for name in names),
)
_TIERS: Range[tuple[int, ...]] = Range(
    "be one or more of 1, 2, 3, 4", lambda tiers: bool(tiers) and set(tiers) <= {1, 2, 3, 4}
)
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)
"""Names of models and tokenizers on the Hugging Face hub."""
LFS_POINTER = b"version https://git-lfs"
"""How a file starts that git-lfs has left in the place of the one that a setting names."""
MOST_PROBLEMS = 1_000_000
"""A run makes or reads all of them, and keeps them in memory, before it starts."""
PROBLEMS: Range[int] = Range(f"lie in [1, {MOST_PROBLEMS:,}]", lambda x: 1 <= x <= MOST_PROBLEMS)


@dataclasses.dataclass(frozen=True)
class FieldsSection:
    """Which fields of a row are read. A dot leads into a field that holds fields: `reward_model.ground_truth`. None:
    the first of the names below that the row has; they are those of GSM8K, of MATH and of verl's files."""

    question: str | None = None
    """What is asked, a text or a list of messages; None: `question`, `prompt` or `problem`."""
    answer: str | None = None
    """The true answer alone, or a solution that marks it; None: `answer`, `reward_model.ground_truth`, `ground_truth`
    or `solution`."""
    solution: str | None = None
    """The reference solution, for the warm start; None: the answer if it is a solution, else `solution` or
    `extra_info.answer`, else the answer."""
    source: str | None = None
    """The name of the row's data set, for rewards and metrics; None: `data_source`, else the name of the file or data
    set (gsm8k for solutions that end as GSM8K's do)."""


@dataclasses.dataclass(frozen=True)
class DataSection:
    """Problems to train and evaluate on. Without sources, a generator writes them."""

    task: str | None = setting(None, _TASK, needs=[_NO_FILE])
    """None: the sources below, or the built-in word problems. calculations: "What is 12 + 35?", with operands from 0 to
    max_number; of every pair of operands, both orders are trained on, or both held out. reasoning_gym:NAME: a generator
    of reasoning-gym with answers that are numbers, judged by its own scorer (extra `data`). PATH.py:Class: a task of
    your own, derived from `ntl_jax.tasks.Task`."""
    task_options: tuple[str, ...] = setting((), _OPTIONS, needs=_TAKES_OPTIONS)
    """Options NAME=VALUE of a generator of reasoning-gym, or keyword arguments of your own class, as texts."""
    train: tuple[str, ...] = setting((), _SOURCES)
    """One or several sources, separated by spaces: files (jsonl, json, csv, tsv, parquet, also compressed), saved data
    sets of Hugging Face or their names on the hub, as in openai/gsm8k:main:train (docs/data.md). Empty: built-in
    generator."""
    eval: tuple[str, ...] = setting((), _SOURCES)
    """The same, held out; empty: the generator's held-out split (an error if `train` names sources)."""
    weights: tuple[float, ...] = setting((), WEIGHTS, needs=[several("data.train")])
    """Shares of draws from the sources of `train`, one number each, of any sum; empty: by their numbers of rows."""
    fields: FieldsSection = setting(FieldsSection(), needs=[given("data.train") | given("data.eval")])
    on_bad_row: Literal["error", "skip"] = "error"
    """A malformed row stops the run, or is skipped and counted. Text with a special token is malformed."""
    on_long_row: Literal["error", "skip"] = "skip"
    """A prompt or solution longer than the limits below stops the run, or is skipped and counted."""
    max_prompt_tokens: int = setting(384, at_least(1))
    """Longest prompt to use, in tokens."""
    max_solution_tokens: int = setting(512, at_least(1), needs=[positive("warm_start.steps")])
    """Longest reference solution in the warm start, in tokens."""
    tokenizer: str | None = None
    """Folder or hub name of a tokenizer; None: the one of model.path, or the built-in one with single-digit tokens."""
    tiers: tuple[int, ...] = setting((1, 2), _TIERS, needs=_WORD_PROBLEMS)
    """Word problems: numbers of reasoning steps in problems, each from 1 to 4."""
    max_number: int = setting(40, at_least(5, ": below, some problems have no solution"), needs=_BUILT_IN)
    """Largest number in questions: of calculations, and of word problems of tiers 1 and 2; tiers 3 and 4 go up to ten
    times as far."""
    operations: tuple[Operation, ...] = setting(("+",), _OPERATIONS, needs=_CALCULATIONS)
    """Calculations: any of + - *, in equal shares until the differences, of which there are fewest, are used up."""
    num_train: int = setting(20_000, PROBLEMS, needs=_MADE)
    """Generators: number of training problems; all, if there are fewer (an error for word problems)."""
