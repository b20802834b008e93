# SPDX-License-Identifier: Apache-2.0
"""What a run asks: training and held-out prompts and reference solutions, as ids of the policy's tokenizer."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ntl_jax.config import DataSection, RunConfig
from ntl_jax.data import Problem, encode_prompts, encode_solutions, plain_problems
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.records import Prompt
from ntl_jax.rows.padding import RowShape
from ntl_jax.tasks import generate_problems, load_gsm8k


@dataclasses.dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of a run.

    Args:
        train, held_out: what is asked in training and in evaluations.
        examples: training prompts with the ids of their solutions.
        source: where they come from, and how many rows were left out and why.
    """

    train: Sequence[Prompt]
    held_out: Sequence[Prompt]
    examples: Sequence[tuple[Prompt, np.ndarray]]
    source: str

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(prompt.ids) for prompt in [*self.train, *self.held_out])

    def shape(self, max_tokens: int) -> RowShape:
        """Bounds of rows with responses of up to ``max_tokens``."""
        return RowShape(row=self.longest + max_tokens, response=max_tokens)


def build_prompts(config: RunConfig, tokenizer: Tokenizer) -> Prompts:
    """Loads or generates the problems, and encodes them.

    Args:
        config: its ``data`` section, ``seed`` and ``trainer.eval_problems``.
        tokenizer: of the policy.

    Raises:
        ValueError: for files, rows, a template or lengths that do not fit.
    """
    data = config.data
    train, held_out, skipped_rows = _problems(config, tokenizer)
    encoding = {"template": data.template, "max_tokens": data.max_prompt_tokens, "on_long": data.on_long_row}
    train_prompts, long_prompts = encode_prompts(train, tokenizer, **encoding)
    held_out_prompts, long_held_out = encode_prompts(held_out, tokenizer, **encoding)
    examples, long_solutions = encode_solutions(
        train_prompts, tokenizer, max_tokens=data.max_solution_tokens, on_long=data.on_long_row
    )
    skipped = {
        "malformed rows": skipped_rows,
        "long prompts": long_prompts + long_held_out,
        "long solutions (warm start)": long_solutions,
    }
    source = _source(data, len(train_prompts), len(held_out_prompts), skipped)
    return Prompts(train_prompts, held_out_prompts, examples, source)


def _problems(config: RunConfig, tokenizer: Tokenizer) -> tuple[list[Problem], list[Problem], int]:
    """Training and held-out problems, and how many malformed rows were skipped."""
    data, num_eval = config.data, config.trainer.eval_problems
    settings = {"seed": config.seed, "tiers": data.tiers, "max_number": data.max_number}
    skipped_train = skipped_eval = 0
    if data.train is None:
        train = generate_problems(data.num_train, split="train", **settings)
    else:
        train, skipped_train = load_gsm8k(data.train, on_bad_row=data.on_bad_row)
    if data.eval is None:
        assert num_eval is not None and data.train is None, "validate() refuses both"
        held_out = generate_problems(num_eval, split="held_out", **settings)
    else:
        held_out, skipped_eval = load_gsm8k(data.eval, on_bad_row=data.on_bad_row)
    train, more_train = plain_problems(train, tokenizer, on_bad_row=data.on_bad_row)
    held_out, more_eval = plain_problems(held_out, tokenizer, on_bad_row=data.on_bad_row)
    return train, held_out[:num_eval], skipped_train + skipped_eval + more_train + more_eval


def _source(data: DataSection, num_train: int, num_eval: int, skipped: dict[str, int]) -> str:
    generator = f"built-in generator, tiers {data.tiers}, numbers to {data.max_number}"
    where = ", ".join(dict.fromkeys([data.train or generator, data.eval or generator]))
    left_out = ", ".join(f"{count} {what}" for what, count in skipped.items() if count)
    return f"{where}: {num_train:,} train, {num_eval:,} held out" + (f"; left out: {left_out}" if left_out else "")
