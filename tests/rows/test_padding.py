# SPDX-License-Identifier: Apache-2.0
"""Rows of prompts and responses."""

import chex
import numpy as np
import pytest

from ntl_jax.rows.padding import RowShape, pad_rows, pad_tokens

PROMPTS = [np.array([7, 11, 8, 12]), np.array([9])]
RESPONSES = [np.array([20, 6, 1]), np.array([30, 31])]
NUMBERS = [np.array([np.nan, 5, np.nan]), np.array([np.nan, np.nan])]


@pytest.fixture(scope="module")
def padded():
    return pad_rows(PROMPTS, RESPONSES, RowShape(row=8, response=8), numbers=NUMBERS)


def test_rows_hold_prompt_and_response_and_count_their_positions(padded):
    rows, targets = padded
    chex.assert_shape([rows.tokens, rows.positions, rows.predictors, *targets], (2, 8))
    assert rows.tokens.tolist() == [[7, 11, 8, 12, 20, 6, 1, 0], [9, 30, 31, 0, 0, 0, 0, 0]]
    assert (rows.positions == np.arange(8)).all() and rows.segment_ids is None


def test_predictors_point_at_the_token_before_each_response_token(padded):
    rows, targets = padded
    for row in range(2):
        for t in np.flatnonzero(targets.mask[row]):
            assert rows.tokens[row, rows.predictors[row, t] + 1] == targets.ids[row, t] == RESPONSES[row][t]


def test_the_mask_counts_response_tokens_alone(padded):
    assert padded[1].mask.sum(axis=1).tolist() == [3, 2]


def test_true_numbers_stand_where_they_are_predicted(padded):
    numbers = padded[1].numbers
    assert numbers[0, 1] == 5
    assert np.isnan(np.delete(numbers.ravel(), 1)).all()


def test_a_row_that_is_not_kept_has_an_empty_mask_and_is_read_like_any_other(padded):
    rows, targets = pad_rows(PROMPTS, RESPONSES, RowShape(8, 8), numbers=NUMBERS, keep=np.array([False, True]))
    assert targets.mask.sum(axis=1).tolist() == [0, 2]
    chex.assert_trees_all_equal(rows, padded[0])


def test_a_pad_id_that_is_also_a_real_token_is_masked_by_length():
    _, targets = pad_rows([np.array([0, 0])], [np.array([0, 0, 0])], RowShape(8, 8), numbers=[np.full(3, np.nan)])
    assert targets.mask.sum() == 3


def test_few_shapes_serve_all_lengths():
    shape = RowShape(row=400, response=200)
    shapes = {shape.bucket(row, min(row, response)) for row in range(4, 401, 4) for response in range(4, 201, 4)}
    assert len(shapes) == 4


def test_rows_or_responses_beyond_the_bounds_are_an_error_of_ours():
    for row, response in ((401, 1), (400, 201)):
        with pytest.raises(AssertionError, match="exceeds"):
            RowShape(row=400, response=200).bucket(row, response)


def test_ragged_values_are_filled_up_in_their_dtype():
    padded = pad_tokens([np.array([1.0]), np.array([2.0, 3.0])], 3, -1.0, np.float32)
    assert padded.tolist() == [[1, -1, -1], [2, 3, -1]] and padded.dtype == np.float32
