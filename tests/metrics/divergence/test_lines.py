# SPDX-License-Identifier: Apache-2.0
"""Claims about single keys of a line; lines as a whole are in test_debug_metrics.py."""

import numpy as np

from ntl_jax.metrics.divergence.comparison import TopTokens
from ntl_jax.metrics.divergence.lines import LoggedResponse, divergence_lines


def line_of(response: LoggedResponse, position: int, **options) -> dict:
    top = TopTokens(*(np.array([x]) for x in (0, position, -0.1, -4.0)))
    (line,) = divergence_lines(top, lambda row: response, tokenizer=None, **options)
    return line


def test_a_response_ends_with_its_last_token_that_counts_also_where_others_do_not_count():
    mask = np.array([True, False, True, False])
    line = line_of(LoggedResponse(np.arange(4), mask), 0, context=2)
    assert (line["sequence_length"], line["position_from_end"]) == (3, 2)
    assert line["attention_mask"] == [1, 0, 1] and line["context_end_pos"] == 3


def test_staleness_counts_from_the_version_that_wrote_the_token():
    response = LoggedResponse(np.arange(2), np.ones(2, bool), versions=np.array([3, 5]))
    assert [line_of(response, t, iteration=7)["staleness"] for t in (0, 1)] == [4, 2]
    assert line_of(response, 0)["staleness"] is None


def test_values_that_json_does_not_have_are_null():
    response = LoggedResponse(np.arange(1), np.ones(1, bool), advantages=np.array([np.nan]))
    assert line_of(response, 0)["advantage"] is None
