# SPDX-License-Identifier: Apache-2.0
"""A run's training prompts, held-out prompts and reference solutions, as ids of the policy's tokenizer."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ntl_jax.config import DataSection, PromptSection, RunConfig, named
from ntl_jax.data import (
    Problem,
    PromptWriter,
    Template,
    encode_prompts,
    encode_solutions,
    load_template,
    plain_problems,
)
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.records import Prompt
from ntl_jax.rows.padding import RowShape
from ntl_jax.tasks import Split, Task


@dataclasses.dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of a run.

    Args:
        train, held_out: prompts for training and for evaluation.
        examples: training prompts with the ids of their solutions.
        source: where they come from, and how many rows were left out and why.
        written: how a question is asked.
    """

    train: Sequence[Prompt]
    held_out: Sequence[Prompt]
    examples: Sequence[tuple[Prompt, np.ndarray]]
    source: str
    written: str

    @property
    def longest(self) -> int:
        """Number of tokens of the longest prompt."""
        return max(len(prompt.ids) for prompt in [*self.train, *self.held_out])

    def shape(self, max_tokens: int) -> RowShape:
        """Bounds of rows with responses of up to ``max_tokens``."""
        return RowShape(row=self.longest + max_tokens, response=max_tokens)


def build_prompts(config: RunConfig, task: Task, tokenizer: Tokenizer) -> Prompts:
    """Loads the task's problems and encodes them.

    Args:
        config: its sections ``data`` and ``prompt`` and ``trainer.eval_problems``.
        task: source of the problems.
        tokenizer: the policy's tokenizer.

    Raises:
        ValueError: for unsuitable files, rows, templates or lengths.
    """
    data, template = config.data, load_template(config.prompt.template, tokenizer)
    encoding = {"max_tokens": data.max_prompt_tokens, "on_long": data.on_long_row, "adds_start": template.adds_start}
    with named("data.train", data.train):
        train, skipped_train = _problems(task, "train", tokenizer, data)
        write = prompt_writer(config.prompt, template, task, train)
        encoding["render"] = write
        train_prompts, long_prompts = encode_prompts(train, tokenizer, **encoding)
        examples, long_solutions = encode_solutions(
            train_prompts,
            tokenizer,
            max_tokens=data.max_solution_tokens,
            on_long=data.on_long_row,
            end=template.end_of_turn,
            gap=write.gap,
        )
    with named("data.eval", data.eval):
        held_out, skipped_held_out = _problems(task, "held_out", tokenizer, data)
        asked = held_out[: config.trainer.eval_problems]
        held_out_prompts, long_held_out = encode_prompts(asked, tokenizer, **encoding)
    skipped = {
        "malformed rows": skipped_train + skipped_held_out,
        "long prompts": long_prompts + long_held_out,
        "long solutions (warm start)": long_solutions,
    }
    source = _source(data, train_prompts, held_out_prompts, skipped)
    return Prompts(train_prompts, held_out_prompts, examples, source, _written(config.prompt, template))


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


def _problems(task: Task, split: Split, tokenizer: Tokenizer, data: DataSection) -> tuple[list[Problem], int]:
    """The problems of a split whose texts have no special tokens, and how many malformed rows were left out."""
    problems, skipped = task.load(split)
    plain, more = plain_problems(problems, tokenizer, on_bad_row=data.on_bad_row)
    return plain, skipped + more


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
        parts.append(f"{section.few_shot} training problems before it with their solutions")
    return ", ".join([template.about, *parts])


def _source(data: DataSection, train: Sequence[Prompt], held_out: Sequence[Prompt], skipped: dict[str, int]) -> str:
    generator = (
        f"built-in generator, tiers {data.tiers}, numbers to {data.max_number}"
        if data.task is None
        else f"{data.task} {' '.join(data.operations)}, numbers to {data.max_number}"
    )
    where = ", ".join(dict.fromkeys([data.train or generator, data.eval or generator]))
    left_out = ", ".join(f"{count} {what}" for what, count in skipped.items() if count)
    asked = {prompt.text for prompt in train}
    shared = 0 if data.train is None else sum(prompt.text in asked for prompt in held_out)
    return (
        f"{where}: {len(train):,} train, {len(held_out):,} held out"
        + (f", {shared:,} of them trained on too: their accuracy says little" if shared else "")
        + (f"; left out: {left_out}" if left_out else "")
    )
