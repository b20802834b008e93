# SPDX-License-Identifier: Apache-2.0
"""Rows of a batch."""

import numpy as np
import pytest

from ntl_jax.train.batch import RowShape, pad_rows, take_rows

PROMPTS = [np.array([7, 11, 8, 12]), np.array([9])]
RESPONSES = [np.array([20, 6, 1]), np.array([30, 31])]
TRUTH = [np.array([np.nan, 5, np.nan]), np.array([np.nan, np.nan])]


@pytest.fixture(scope="module")
def batch():
    return pad_rows(PROMPTS, RESPONSES, RowShape(row=8, response=8), number_targets=TRUTH)


def test_predictors_point_at_the_token_before_each_response_token(batch):
    for row in range(2):
        for t in np.flatnonzero(batch.mask[row]):
            assert batch.tokens[row, batch.predictors[row, t] + 1] == batch.targets[row, t] == RESPONSES[row][t]


def test_the_mask_counts_response_tokens_alone(batch):
    assert batch.mask.sum(axis=1).tolist() == [3, 2]
    assert batch.segment_ids.sum(axis=1).tolist() == [7, 3]


def test_true_numbers_stand_where_they_are_predicted(batch):
    assert batch.number_targets[0, 1] == 5
    assert np.isnan(np.delete(batch.number_targets.ravel(), 1)).all()


def test_a_row_that_is_not_kept_has_an_empty_mask():
    batch = pad_rows(PROMPTS, RESPONSES, RowShape(8, 8), number_targets=TRUTH, keep=np.array([False, True]))
    assert batch.mask.sum(axis=1).tolist() == [0, 2]


def test_a_pad_id_that_is_also_a_real_token_is_masked_by_length():
    batch = pad_rows([np.array([0, 0])], [np.array([0, 0, 0])], RowShape(8, 8), number_targets=[np.full(3, np.nan)])
    assert batch.mask.sum() == 3


def test_taking_rows_takes_them_from_every_array(batch):
    swapped = take_rows(batch, np.array([1, 0]))
    assert swapped.targets[0, :2].tolist() == [30, 31]
    assert swapped.old_log_probs is None


def test_few_shapes_serve_all_lengths():
    shape = RowShape(row=400, response=200)
    shapes = {shape.bucket(row, min(row, response)) for row in range(4, 401, 4) for response in range(4, 201, 4)}
    assert len(shapes) == 4
