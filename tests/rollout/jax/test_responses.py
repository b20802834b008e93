# SPDX-License-Identifier: Apache-2.0
"""Segments become responses on the host: in order, each to its end, in rows that are used again."""

from typing import Any

import numpy as np
import pytest

from ntl_jax.records import Prompt, Request, Sampling, Version, VersionSpan
from ntl_jax.rollout.jax.decode import PAGE, Segment
from ntl_jax.rollout.jax.responses import Responses
from ntl_jax.rollout.jax.sampler.sample import Captured

REQUEST = Request(Prompt(3, np.array([1, 2]), "", "1", draw=13), Sampling(2, 40), seed=0)


def segment(lengths, stopped, first: int = 0) -> Segment:
    """Slot x decodes the tokens first + 100 x, first + 1 + 100 x, ..."""
    tokens: Any = np.arange(first, first + PAGE)[:, None] + 100 * np.arange(len(lengths))[None]
    captured = Captured(tokens, -tokens / 1000.0, None, None, None, None)
    return Segment(captured, np.array(lengths), np.array(stopped))


def test_segments_of_a_sample_follow_each_other_and_it_ends_at_its_stop_token_or_its_limit():
    responses = Responses(2, max_tokens=20, length_to_stop=None)
    rows = np.array([1, 0])
    assert responses.add(rows, segment([PAGE, PAGE], [False, False])).tolist() == [False, False]
    assert responses.last_tokens(np.array([0, 1])).tolist() == [100 + PAGE - 1, PAGE - 1]
    assert responses.add(rows, segment([2, 20 - PAGE], [True, False], first=PAGE)).tolist() == [True, True]
    first, second = responses.take_out(REQUEST, range(2), Version(4))
    assert first.response_ids.tolist() == [100 + i for i in range(20)]
    assert second.response_ids.tolist() == list(range(PAGE + 2))
    np.testing.assert_allclose(second.rollout_log_probs, -second.response_ids / 1000.0)
    assert (first.finish_reason, second.finish_reason) == ("length", "stop")
    assert [(t.prompt_index, t.sample_index, t.draw) for t in (first, second)] == [(3, 0, 13), (3, 1, 13)]
    assert first.versions == (VersionSpan(0, 20, Version(4)),)
    assert (responses.num_tokens, responses.num_steps) == (20 + PAGE + 2, PAGE + 20 - PAGE)


def test_rows_that_were_taken_out_are_used_again_and_responses_do_not_share_their_memory():
    responses = Responses(1, max_tokens=PAGE, length_to_stop=None)
    row, taken = np.array([0]), []
    for first in (0, 50):
        responses.add(row, segment([3], [True], first=first))
        taken += responses.take_out(REQUEST, range(1), Version(0))
    assert [t.response_ids.tolist() for t in taken] == [[0, 1, 2], [50, 51, 52]]


def test_empty_slots_give_nothing():
    responses = Responses(1, max_tokens=PAGE, length_to_stop=None)
    assert responses.add(np.array([-1, 0]), segment([PAGE, 1], [False, True])).tolist() == [False, True]
    assert responses.lengths.tolist() == [1]


@pytest.mark.parametrize(("stop_at", "length"), [(4, 5), (PAGE + 1, PAGE + 2)])
def test_a_stop_string_cuts_the_response_at_the_token_that_completes_it(stop_at, length):
    def find(ids: np.ndarray) -> int | None:
        return int(np.flatnonzero(ids == stop_at)[0]) + 1 if stop_at in ids else None

    responses = Responses(1, max_tokens=2 * PAGE, length_to_stop=find)
    finished = False
    for first in (0, PAGE):
        if not finished:
            (finished,) = responses.add(np.array([0]), segment([PAGE], [False], first=first)).tolist()
    (trajectory,) = responses.take_out(REQUEST, range(1), Version(0))
    assert finished and trajectory.finish_reason == "stop"
    assert trajectory.response_ids.tolist() == list(range(length))
