# SPDX-License-Identifier: Apache-2.0
"""Writes word problems in GSM8K's format with exact integer answers, reproducible from a seed.

A checksum of its text decides whether a question is for training or held out, so no seed, count or tier can put a
training question into an evaluation.
"""

import random
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from ntl_jax.data import Split
from ntl_jax.data.problems import Problem
from ntl_jax.tasks.arithmetic.catalogue import ITEMS, NAMES, TEMPLATES
from ntl_jax.tasks.arithmetic.templates import SMALLEST, Template

Operator = Literal["+", "-", "*", "/"]
"""What a step computes."""
HELD_OUT_ONE_IN = 4
"""Share of all questions that are held out."""

LARGEST_SMALL = 9
"""Largest multiplier and divisor: one digit."""

LOW_TIER_LIMIT = 3
"""Results of tiers 1 and 2 go up to this many times max_number, to keep numbers short enough for a small model."""

HIGH_TIER_SCALE = 10
"""Numbers of tiers 3 and 4 go up to this many times max_number."""

HIGH_TIER_LIMIT = 10**9
"""Largest result of tiers 3 and 4."""

LEAST_MAX_NUMBER = 5
"""Smallest max_number: below it, some templates have no solution."""

SETTINGS: dict[Split, str] = {"train": "data.num_train", "held_out": "trainer.eval_problems"}
"""What decides the number of problems."""

PATIENCE = 1_000
"""Consecutive repeated questions that imply that fewer than one in a hundred are left."""


def generate_problems(
    num: int,
    *,
    seed: int,
    split: Split = "train",
    tiers: Sequence[int] = (1, 2),
    max_number: int = 40,
    patience: int = PATIENCE,
) -> list[Problem]:
    """Different problems, drawn from the templates of some tiers in equal shares.

    A longer list starts with the problems of a shorter one: with the same seed, split, tiers and max_number, the same
    ``index`` is the same problem.

    Args:
        num: number of problems.
        seed: seed of the random draws.
        split: ``train`` or ``held_out``; no question is in both, whatever the seeds.
        tiers: numbers of reasoning steps, each from 1 to 4.
        max_number: largest number in questions of tiers 1 and 2; tiers 3 and 4 go up to ten times as far.
        patience: consecutive repeated questions after which the supply counts as exhausted.

    Raises:
        ValueError: for a setting out of range, or if there are fewer than ``num`` different problems; at the default
            patience, fewer than one in a hundred are left then.

    Example:
        >>> problem = generate_problems(1, seed=0, tiers=(1,))[0]
        >>> problem.solution.endswith(f"#### {problem.ground_truth}")
        True
    """
    _check(num, split, tiers, max_number)
    templates = {tier: [t for t in TEMPLATES if t.tier == tier] for tier in sorted(set(tiers))}
    problems = _different(_texts(random.Random(seed), templates, max_number), num, split, patience)
    if len(problems) < num:
        raise ValueError(
            f"{SETTINGS[split]}={num}: of data.tiers={tuple(tiers)} and data.max_number={max_number} there are "
            f"only about {len(problems)} different problems: lower it, raise data.max_number or add data.tiers"
        )
    return problems


def held_out_between(
    low: int, high: int, num: int, *, seed: int, tier: int, operation: Operator | None = None
) -> list[Problem]:
    """Held-out problems whose largest number is in a range; if there are fewer, nearly all of them.

    Args:
        low, high: the largest number in a question exceeds ``low`` and not ``high``; in tiers 3 and 4, ten times these.
        num: number of problems.
        seed: seed of the random draws.
        tier: number of reasoning steps, from 1 to 4.
        operation: all steps are of this one; None: of any.

    Example:
        >>> held_out_between(10, 100, 1, seed=0, tier=1, operation="-")[0].solution.partition("=")[0]
        'Lily has 64-53'
    """
    _check(num, "held_out", (tier,), high)
    assert low < high, f"no number is above {low} and at most {high}"
    suitable = [t for t in TEMPLATES if t.tier == tier and (operation is None or t.operations == {operation})]
    stream = _texts(random.Random(seed), {tier: suitable}, high, low)
    return _different(stream, num, "held_out", PATIENCE)


def _different(stream: Iterator[tuple[str, str, str]], num: int, split: Split, patience: int) -> list[Problem]:
    """The stream's first different problems of a split; fewer, where so many repeated ones follow one another."""
    found: dict[str, tuple[str, str]] = {}
    misses = 0
    while len(found) < num and misses <= patience:
        question, solution, answer = next(stream)
        if _split_of(question) != split:
            continue
        misses = misses + 1 if question in found else 0
        found[question] = solution, answer
    return [Problem(i, question, *rest, "generated") for i, (question, rest) in enumerate(found.items())]


def _check(num: int, split: str, tiers: Sequence[int], max_number: int) -> None:
    known = sorted({template.tier for template in TEMPLATES})
    checks = {
        f"num={num}: must be at least 0": num >= 0,
        f"split={split!r}: must be one of {get_args(Split)}": split in get_args(Split),
        f"tiers={tuple(tiers)}: one or more of {known}": bool(tiers) and set(tiers) <= set(known),
        f"max_number={max_number}: must be at least {LEAST_MAX_NUMBER}": max_number >= LEAST_MAX_NUMBER,
    }
    if wrong := [text for text, ok in checks.items() if not ok]:
        raise ValueError("The generator cannot do this: " + "; ".join(wrong))


def _split_of(question: str) -> Split:
    return "held_out" if zlib.crc32(question.encode()) % HELD_OUT_ONE_IN == 0 else "train"


def _texts(
    rng: random.Random, templates: dict[int, list[Template]], max_number: int, above: int = 0
) -> Iterator[tuple[str, str, str]]:
    """An endless stream of (question, solution, answer), with repetitions."""
    tiers = list(templates)
    while True:
        template = rng.choice(templates[rng.choice(tiers)])
        name, other = rng.sample(NAMES, 2)
        words = {"name": name, "other": other, "items": rng.choice(ITEMS)}
        yield template.write(words, _numbers(rng, template, max_number, above))


def _numbers(rng: random.Random, template: Template, max_number: int, above: int) -> dict[str, int]:
    """Numbers for the template's question and steps, redrawn until the whole solution is in range."""
    low = template.tier <= 2
    scale = 1 if low else HIGH_TIER_SCALE
    largest = scale * max_number
    limit = LOW_TIER_LIMIT * max_number if low else HIGH_TIER_LIMIT
    values = None
    while values is None or all(values[x] <= scale * above for x in template.numbers):
        tops = ((x, min(largest, LARGEST_SMALL) if x in template.small else largest) for x in template.numbers)
        values = template.solve({x: rng.randint(SMALLEST, top) for x, top in tops}, limit=limit)
    return values
