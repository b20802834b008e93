# SPDX-License-Identifier: Apache-2.0
"""A run's training prompts, held-out prompts and reference solutions, as ids of the policy's tokenizer."""

import collections
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ntl_jax.config import DataSection, PromptSection, RunConfig, from_home, is_own, named
from ntl_jax.data import (
    Problem,
    PromptWriter,
    Split,
    Template,
    encode_prompts,
    encode_solutions,
    load_template,
    plain_problems,
)
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.records import Prompt
from ntl_jax.rows.padding import RowShape
from ntl_jax.tasks import Task


@dataclasses.dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of a run.

    Args:
        train, held_out: prompts for training and for evaluation.
        solved: training prompts with the ids of their solutions.
        about: where they come from, and how many rows were left out and why.
        written: how a question is asked.
        reply, end: what follows a prompt with a solution, and the token after it, as `encode_solutions` takes them.
        files: the contents of the files that other settings name: a template, a task of one's own.
    """

    train: Sequence[Prompt]
    held_out: Sequence[Prompt]
    solved: Sequence[tuple[Prompt, np.ndarray]]
    about: str
    written: str
    reply: Callable[[str], str] = str
    end: int | None = None
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def longest(self) -> int:
        """Number of tokens of the longest prompt."""
        return max(len(prompt.ids) for prompt in [*self.train, *self.held_out])

    def shape(self, max_tokens: int) -> RowShape:
        """Bounds of rows with responses of up to ``max_tokens``."""
        return RowShape(row=self.longest + max_tokens, response=max_tokens)


def build_prompts(config: RunConfig, task: Task, tokenizer: Tokenizer, *, trains: bool = True) -> Prompts:
    """Loads the task's problems and encodes them.

    Args:
        config: its sections ``data`` and ``prompt``, ``warm_start.steps`` and ``trainer.eval_problems``.
        task: source of the problems.
        tokenizer: the policy's tokenizer.
        trains: whether the policy learns from the training problems. If not, they are only read where prompts show
            some, and none of them is encoded.

    Raises:
        ValueError: for unsuitable files, rows, templates or lengths.
    """
    data, template = config.data, load_template(config.prompt.template, tokenizer)
    encoding = {"max_tokens": data.max_prompt_tokens, "on_long": data.on_long_row, "adds_start": template.adds_start}
    with named("data.train", " ".join(data.train) or None):
        reads = trains or config.prompt.few_shot
        train, skipped_train = load_plain(task, "train", tokenizer, data) if reads else ([], 0)
        write = prompt_writer(config.prompt, template, task, train)
        encoding["render"] = write
        train_prompts, long_prompts = encode_prompts(train if trains else [], tokenizer, **encoding)
        solved, long_solutions = encode_solutions(
            train_prompts,
            tokenizer,
            max_tokens=data.max_solution_tokens if config.warm_start.steps else sys.maxsize,
            on_long=data.on_long_row,
            end=template.end_of_turn,
            reply=write.reply,
        )
    if trains:
        _check_weights(data, train_prompts, "prompts")
    if trains and config.warm_start.steps:
        _check_weights(data, [prompt for prompt, _ in solved], "solutions")
    with named("data.eval", " ".join(data.eval) or None):
        held_out, skipped_held_out = load_plain(task, "held_out", tokenizer, data)
        asked = _first_of_each(held_out, config.trainer.eval_problems)
        held_out_prompts, long_held_out = encode_prompts(asked, tokenizer, **encoding)
    skipped = {
        "malformed rows": (skipped_train if trains else 0) + skipped_held_out,
        "long prompts": long_prompts + long_held_out,
        "long solutions (warm start)": long_solutions,
    }
    return Prompts(
        train=train_prompts,
        held_out=held_out_prompts,
        solved=solved,
        about=_about(data, train_prompts, held_out_prompts, skipped),
        written=_written(config.prompt, template),
        reply=write.reply,
        end=template.end_of_turn,
        files=_files(data, template),
    )


def prompt_writer(section: PromptSection, template: Template, task: Task, train: Sequence[Problem]) -> PromptWriter:
    """What writes prompts, with the first training problems as examples if there are to be any.

    Args:
        section: the ``prompt`` section.
        template: of ``section.template``.
        task: says what is asked.
        train: training problems; none are needed where ``section.few_shot`` is 0.

    Raises:
        ValueError: as in `PromptWriter`.
    """
    return PromptWriter(section, template, task.render, _different(train, section.few_shot + 1))


def load_plain(task: Task, split: Split, tokenizer: Tokenizer, data: DataSection) -> tuple[list[Problem], int]:
    """The problems of a split whose texts have no special tokens, and how many malformed rows were left out.

    Args:
        task: has the problems.
        split: which of them.
        tokenizer: the policy's tokenizer.
        data: its ``on_bad_row``.

    Raises:
        ValueError: as in `ntl_jax.data.plain_problems`.
    """
    problems, skipped = task.load(split)
    plain, more = plain_problems(problems, tokenizer, on_bad_row=data.on_bad_row)
    return plain, skipped + more


def _check_weights(data: DataSection, prompts: Sequence[Prompt], what: str) -> None:
    """Raises a ValueError if there is nothing to draw from a source that has a weight."""
    there = {prompt.source_index for prompt in prompts}
    for i, (source, weight) in enumerate(zip(data.train, data.weights, strict=False)):
        if i not in there:
            raise ValueError(
                f"data.weights={data.weights!r}: {weight:g} is the share of {source}, all of whose rows are left out, "
                f"since their {what} are too long or malformed: raise the limits of data, or leave the source out"
            )


def _first_of_each(problems: Sequence[Problem], most: int | None) -> list[Problem]:
    """The first problems of each source, from each the same share, in their order; None: all."""
    sizes = collections.Counter(problem.source_index for problem in problems)
    taken, place = collections.Counter[int](), []
    for i, problem in enumerate(problems):
        place.append(((taken[problem.source_index] + 0.5) / sizes[problem.source_index], i))
        taken[problem.source_index] += 1
    return [problems[i] for i in sorted(i for _, i in sorted(place)[:most])]


def _different(problems: Sequence[Problem], most: int) -> list[Problem]:
    """The first problems with different questions."""
    found: dict[str, Problem] = {}
    for problem in problems:
        if len(found) == most:
            break
        found.setdefault(problem.text, problem)
    return list(found.values())


def _written(section: PromptSection, template: Template) -> str:
    """How a question is asked, in words."""
    texts = {"system message": section.system, "instruction": section.suffix, "response begins": section.prefix}
    parts = [f"{name} {text!r}" for name, text in texts.items() if text is not None]
    if section.few_shot:
        parts.append(f"{section.few_shot} training problem{'s' * (section.few_shot > 1)} before it, solved")
    return ", ".join([template.about, *parts])


def _about(data: DataSection, train: Sequence[Prompt], held_out: Sequence[Prompt], skipped: dict[str, int]) -> str:
    generator = _generator(data)
    where = ", ".join(dict.fromkeys([*(data.train or [generator]), *(data.eval or [generator])]))
    left_out = ", ".join(f"{count} {what}" for what, count in skipped.items() if count)
    asked = {prompt.text for prompt in train}
    shared = sum(prompt.text in asked for prompt in held_out) if data.train else 0
    return (
        f"{where}: {len(train):,} train{_by_source(data.train, train, data.weights)}, "
        f"{len(held_out):,} held out{_by_source(data.eval, held_out)}"
        + (f", {shared:,} of them trained on too: their accuracy says little" if shared else "")
        + (f"; left out: {left_out}" if left_out else "")
    )


def _generator(data: DataSection) -> str:
    """What makes problems that come from no source, in words."""
    match data.task:
        case None:
            return f"built-in generator, tiers {data.tiers}, numbers to {data.max_number}"
        case "calculations":
            return f"calculations {' '.join(data.operations)}, numbers to {data.max_number}"
        case _:
            return " ".join([data.task, *data.task_options])


def _files(data: DataSection, template: Template) -> dict[str, str]:
    """The contents of files by the settings that name them."""
    files = {} if template.file is None else {"prompt.template": template.file}
    if data.task is not None and is_own(data.task):
        files["data.task"] = from_home(data.task.rpartition(":")[0]).read_text(encoding="utf-8")
    return files


def _by_source(sources: Sequence[str], prompts: Sequence[Prompt], weights: Sequence[float] = ()) -> str:
    """The number of prompts of each of several sources, with its share of the draws."""
    if len(sources) < 2:
        return ""
    counts = collections.Counter(prompt.source_index for prompt in prompts)
    shares = [f", {weight / sum(weights):.0%} of the draws" for weight in weights] or [""] * len(sources)
    pairs = enumerate(zip(sources, shares, strict=True))
    return f" ({'; '.join(f'{counts[i]:,} of {source}{share}' for i, (source, share) in pairs)})"
