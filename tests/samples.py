# SPDX-License-Identifier: Apache-2.0
"""For tests of what becomes of responses: responses written by hand, and what reads and scores them, on the host."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from ntl_jax.config import NTLSection, RewardSection
from ntl_jax.data import load_tokenizer
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.experience.collector import Samples
from ntl_jax.experience.reader import Reader
from ntl_jax.experience.scored import Scored
from ntl_jax.experience.scorer import Scorer
from ntl_jax.numerals import NumberTable, sampled_numbers
from ntl_jax.records import Prompt, Request, Trajectory, Version, VersionSpan
from ntl_jax.rewards import RewardOutcome
from ntl_jax.tasks import Files, Task
from tests.engines import FakeEngine

TASK = Files((), ())
LIKELY = 0.9
"""Probability of the digits that were sampled, in a sure response."""


@functools.cache
def tokenizer() -> Tokenizer:
    """The built-in one, in which every digit is a token."""
    return load_tokenizer()


@functools.cache
def table() -> NumberTable:
    return NumberTable.from_tokenizer(tokenizer())


def ask(index: int = 0, truth: str = "5", *, draw: int = -1) -> Prompt:
    """A prompt whose true answer this is."""
    text = f"What is {truth}?"
    return Prompt(index, np.array(tokenizer()(text)["input_ids"], np.int32), text, truth, draw=draw)


def respond(
    prompt: Prompt,
    text: str,
    sample: int = 0,
    *,
    digits: bool = True,
    sure: bool = False,
    finish: Literal["stop", "length"] = "stop",
    seed: int = 0,
) -> Trajectory:
    """A response with this text and random log-probs, in which a digit has the log-prob of its token.

    Args:
        prompt, text, sample: what was asked and answered, and the index of the sample.
        digits: whether the digits' log-probs were captured.
        sure: sampled digits have probability `LIKELY`, and the other nine share the rest.
        finish: with the end of text, or cut off.
        seed: of the log-probs.
    """
    rng = np.random.default_rng([seed, prompt.draw, sample])
    end = [tokenizer().eos_token_id] if finish == "stop" else []
    ids = np.array([*tokenizer()(text)["input_ids"], *end], np.int32)
    of_digits = (rng.normal(-2.0, 1.0, (len(ids), 10))).astype(np.float32)
    log_probs = rng.uniform(-2.0, -0.1, len(ids)).astype(np.float32)
    numbers = sampled_numbers(ids, np.asarray(table().token_values))
    at = np.flatnonzero(numbers >= 0)
    if sure:
        of_digits[:] = np.log((1 - LIKELY) / 9)
        of_digits[at, numbers[at]] = np.log(LIKELY)
    log_probs[at] = of_digits[at, numbers[at]]
    return Trajectory(
        prompt_index=prompt.index,
        sample_index=sample,
        prompt_ids=prompt.ids,
        response_ids=ids,
        rollout_log_probs=log_probs,
        digit_log_probs=of_digits if digits else None,
        finish_reason=finish,
        versions=(VersionSpan(0, len(ids), Version(0)),),
        draw=prompt.draw,
    )


def lose(prompt: Prompt, sample: int = 0, *, digits: bool = True) -> Trajectory:
    """A response that the engine gave up."""
    nothing = np.zeros(0, np.float32)
    return Trajectory(
        prompt_index=prompt.index,
        sample_index=sample,
        prompt_ids=prompt.ids,
        response_ids=np.zeros(0, np.int32),
        rollout_log_probs=nothing,
        digit_log_probs=np.zeros((0, 10), np.float32) if digits else None,
        finish_reason="lost",
        versions=(VersionSpan(0, 0, Version(0)),),
        draw=prompt.draw,
    )


class AsSampled:
    """A digit source where the engine captured everything."""

    passes = False

    def __call__(
        self, policy: object, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory], temperature: float
    ) -> Sequence[Trajectory]:
        return trajectories


def answering(answer: Callable[[Request, int], str]) -> FakeEngine:
    """An engine whose responses have the texts that ``answer(request, sample index)`` returns, and sure digits."""
    return FakeEngine(lambda request, index: respond(request.prompt, answer(request, index), index, sure=True))


def make_scorer(
    reward: RewardSection | None = None, task: Task = TASK, *, keys: Sequence[str] = ("score",), **ntl: Any
) -> Scorer:
    """A scorer with these settings of the ``ntl`` section."""
    section = NTLSection(**ntl)
    return Scorer(section, reward or RewardSection(), task, Reader(section, task, tokenizer(), table()), keys)


def samples_of(
    prompts: Sequence[Prompt], trajectories: Sequence[Trajectory], scores: Sequence[float], **fields: Any
) -> Samples:
    """Samples that earned these scores; NaN is no score. All are learned from unless ``learned`` says otherwise."""
    scored: Scored = make_scorer()(prompts, trajectories, tau=1.0)
    outcomes = [RewardOutcome.of(score) for score in scores]
    greedy, learned = fields.get("greedy_scores"), fields.get("learned", np.ones(len(scores), bool))
    return Samples(scored._replace(outcomes=outcomes), learned, greedy, {})
