# SPDX-License-Identifier: Apache-2.0
"""Random responses go through extraction, equations and alignment: no exception, bounded time.

FUZZ_RESPONSES=100000 takes some minutes.
"""

import os
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ntl_jax.numerals import find_answer, label_response

NUM_RESPONSES = int(os.environ.get("FUZZ_RESPONSES", "500"))
MOST_SECONDS = 0.05  # of processor time; a response of this length takes a fraction of a millisecond

WORDS = (
    "#### \\boxed{ << >> 1,234 .5 12+7=19 half of 1/3 --------- ((((((((( {,} 999999999999999999999999999 000000000000"
)
HOSTILE = ["\0", "\x1b[2J", "\u202e", "\u2028", "\r", "\ufeff", "\N{COMBINING ENCLOSING SQUARE}", "<script>", "../"]
FRAGMENTS = [
    *"0123456789+-*/()%=.,$#{}×÷−^<>xa \n²٣€🍎\u00a0\u200b\N{FULLWIDTH DIGIT SEVEN}", *WORDS.split(), *HOSTILE
]  # fmt: skip
RESPONSES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6) | st.integers().map(str), max_size=24)


def numbers_of(tokens: list[str]) -> np.ndarray:
    """What a table of number tokens makes of them: runs of up to nine ASCII digits, else -1."""
    is_number = [t.isascii() and t.isdigit() and len(t) <= 9 for t in tokens]
    return np.array([int(t) if number else -1 for t, number in zip(tokens, is_number, strict=True)], np.int32)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(pieces=RESPONSES, reference=st.decimals(-(10**9), 10**9, places=2), by_character=st.booleans())
@settings(
    max_examples=NUM_RESPONSES,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_response_gets_labels_in_bounded_time(pieces, reference, by_character):
    tokens = [*"".join(pieces)] if by_character else pieces
    starts = np.cumsum([0, *map(len, tokens)], dtype=np.int32)[: len(tokens)]
    text, numbers = "".join(tokens), numbers_of(tokens)
    for mode in ("final_answer", "all_tokens", "hybrid"):
        labels = label_response(text, starts, numbers, str(reference), answer=find_answer(text), mode=mode)
        assert len(labels.truth) == len(tokens)
        assert not (labels.surplus & (labels.truth >= 0)).any()
        for truth in (labels.truth, labels.prefix_truth):
            assert (numbers[truth >= 0] >= 0).all()
        assert 0 <= labels.missing_answer_places <= labels.missing_places
    assert any(seconds(text, starts, numbers) < MOST_SECONDS for _ in range(3))  # the collector may pause one of them


def seconds(text: str, starts: np.ndarray, numbers: np.ndarray) -> float:
    began = time.process_time()
    label_response(text, starts, numbers, "1", answer=find_answer(text), mode="hybrid")
    return time.process_time() - began


REPEATED = [
    *("1+1=", "1,", "1/", "(", "((1)+", "#### ", "#### 1 ", "\\boxed{", "\\boxed{1}", "$", "=", "9", "0."),
    *("-", "1 - ", "1,234,", "%", "1e", "x", " ", "\n", "\x1b[2J1+1=2 ", "one hundred ", "²", "1²", "1:1:", "٣"),
    *("<<1=1>>", "1+", "1 half of ", "{,}1"),
]  # fmt: skip


@pytest.mark.parametrize("piece", REPEATED)
def test_the_time_for_a_long_response_grows_with_its_length(piece):
    """30 times as long may take 30 times as long, with room for what a short text costs at least."""
    short, long = (of_length(piece, length) for length in (1_000, 30_000))
    assert min(long() for _ in range(2)) < 60 * max(min(short() for _ in range(3)), 1e-3)


def of_length(piece: str, length: int):
    text = (piece * length)[:length]
    starts, numbers = np.arange(length, dtype=np.int32), numbers_of([*text])
    return lambda: seconds(text, starts, numbers)
