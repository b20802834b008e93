# SPDX-License-Identifier: Apache-2.0
"""Rows of a batch."""

import numpy as np
import pytest

from ntl_jax.rows.padding import RowShape, pad_rows, take_rows
from ntl_jax.update.weights import weighed

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


def test_every_response_weighs_the_same_where_a_mean_over_responses_is_asked_for(batch):
    weights = np.asarray(weighed(batch, mode="seq-mean-token-mean", scale=8).weights)
    np.testing.assert_allclose(weights.sum(axis=1), [0.5, 0.5])


def test_a_divisor_that_is_asked_for_is_the_longest_response_and_never_the_padded_size(batch):
    weights = np.asarray(weighed(batch, mode="seq-mean-token-sum-norm", scale=5).weights)
    np.testing.assert_allclose(weights[batch.mask], 1 / (2 * 5))


def test_numbers_weigh_what_their_tokens_weigh_and_divergences_that_times_their_own_weight(batch):
    found = weighed(batch._replace(reference_log_probs=batch.mask * 1.0), scale=8, reference_weight=0.5)
    weights, numbers, reference = map(np.asarray, (found.weights, found.number_weights, found.reference_weights))
    assert numbers[0].tolist() == [0, weights[0, 1], *[0] * 6]
    np.testing.assert_array_equal(reference, 0.5 * weights)
