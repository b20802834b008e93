# SPDX-License-Identifier: Apache-2.0
"""Hand-made responses to prompts, so that what reads samples is tested without a policy that writes them."""

from collections.abc import Callable

import numpy as np

from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Prompt, Request, Trajectory, Version, VersionSpan
from tests.engines import FakeEngine

LOG_PROB = -0.5
"""Of every token."""
LIKELY = 0.9
"""Probability of the digit that was sampled; the other nine share the rest."""


def respond(tokenizer: Tokenizer, prompt: Prompt, text: str, index: int = 0, *, ends: bool = True) -> Trajectory:
    """A trajectory with this text, one digit a token, sampled by a policy that is sure of its digits.

    Args:
        tokenizer: the built-in one.
        prompt: what was asked.
        text: what is answered.
        index: of the sample.
        ends: with the end of text; else it was cut off.
    """
    ids = np.array([*tokenizer.encode(text), *([tokenizer.eos_token_id] if ends else [])], np.int32)
    values = np.asarray(NumberTable.from_tokenizer(tokenizer).token_values)[ids]
    digits = np.full((len(ids), 10), (1 - LIKELY) / 9)
    is_digit = ~np.isnan(values)
    digits[is_digit, values[is_digit].astype(int)] = LIKELY
    return Trajectory(
        prompt_index=prompt.index,
        sample_index=index,
        prompt_ids=prompt.ids,
        response_ids=ids,
        rollout_log_probs=np.full(len(ids), LOG_PROB, np.float32),
        digit_log_probs=np.log(digits).astype(np.float32),
        finish_reason="stop" if ends else "length",
        versions=(VersionSpan(0, len(ids), Version(0)),),
        draw=prompt.draw,
    )


def answering(tokenizer: Tokenizer, answer: Callable[[Request, int], str]) -> FakeEngine:
    """An engine whose responses have the texts that ``answer(request, sample index)`` returns."""
    return FakeEngine(lambda request, index: respond(tokenizer, request.prompt, answer(request, index), index))
