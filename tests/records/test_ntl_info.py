# SPDX-License-Identifier: Apache-2.0
"""What the number information of a batch of responses adds up to."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.records import NTLInfo

LOG_01 = np.log(0.1)


@pytest.fixture
def info():
    """Three responses: "12" where 13 was right, "7" without truth, and no digit where two places were expected."""
    digit_log_probs = np.zeros((3, 3, 10), np.float32)
    digit_log_probs[0, 0] = np.where(np.arange(10) == 1, -0.1, -5.0)
    digit_log_probs[0, 1] = np.where(np.arange(10) == 2, -0.3, -5.0)
    digit_log_probs[1, 2] = LOG_01
    digit_values = np.array([[1, 2, -1], [-1, -1, 7], [-1, -1, -1]])
    truth = np.array([[1, 3, -1], [-1, -1, -1], [-1, -1, -1]])
    selected = np.array([[-0.1, -0.3, 0.0], [0.0, 0.0, LOG_01], [0.0, 0.0, 0.0]], np.float32)
    return NTLInfo(
        digit_log_probs=digit_log_probs,
        digit_values=digit_values,
        digit_ground_truth=truth,
        surplus=np.zeros((3, 3), bool),
        is_answer=np.array([[True, True, False], [False, False, True], [False, False, False]]),
        missing_places=np.array([0, 0, 2]),
        missing_answer_places=np.array([0, 0, 2]),
        digit_log_probs_selected=selected,
        predicted=np.array([[1, 2, -1], [-1, -1, 0], [-1, -1, -1]]),
        top_probability=np.array([[0.9, 0.7, 0.0], [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]], np.float32),
        truth_probability=np.array([[0.9, 0.1, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32),
        digit_losses=np.array([[0.2, 0.8, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32),
        ntl_loss=np.array([0.5, np.inf, 81.0]),
        sequence_strings=("12", "x 7", "none"),
        method="mse",
    )


def test_digits_are_counted_and_compared_with_the_truth(info):
    assert (info.batch_size, info.seq_len) == (3, 3)
    assert info.total_digits.tolist() == [2, 1, 0]
    assert info.has_truth.sum(axis=1).tolist() == [2, 0, 0]
    assert info.correct_digits.tolist() == [1, 0, 0]
    assert info.has_digits.tolist() == [True, True, False]


def test_digit_accuracy_counts_missing_places_as_wrong_and_ignores_digits_without_truth(info):
    assert info.digit_accuracy.tolist() == [0.5, 0.0, 0.0]
    assert dataclasses.replace(info, missing_places=np.array([2, 0, 0])).digit_accuracy[0] == 0.25


def test_the_mean_log_prob_is_over_digits_only_and_minus_infinity_without_any(info):
    np.testing.assert_allclose(info.avg_digit_log_prob, [-0.2, LOG_01, -np.inf], rtol=1e-6)


def test_confidence_is_over_digits_and_quality_over_digits_with_truth(info):
    np.testing.assert_allclose(info.confidence, [0.8, 0.1, 0.0], rtol=1e-6)
    np.testing.assert_allclose(info.probability_quality, [0.5, 0.0, 0.0], rtol=1e-6)
    assert info.untruthed.tolist() == [0, 1, 0]


def test_the_dictionary_holds_ragged_lists_over_each_samples_digits(info):
    plain = info.to_dict()
    assert plain["digit_positions"] == [[0, 1], [2], []]
    assert plain["digit_ground_truth"] == [[1, 3], [-1], []]
    assert [len(rows) for rows in plain["digit_log_probs"]] == [2, 1, 0]
    assert (plain["batch_size"], plain["seq_len"], plain["method"]) == (3, 3, "mse")
    assert plain["has_digits"] == [True, True, False]
    assert "digit_log_probs" not in dataclasses.replace(info, digit_log_probs=None).to_dict()


def test_one_samples_information_is_the_batchs_row(info):
    for row in range(info.batch_size):
        one = info[row : row + 1]
        assert one.batch_size == 1 and one.method == "mse"
        assert one.sequence_strings == (info.sequence_strings[row],)
        for name in (
            "total_digits",
            "correct_digits",
            "digit_accuracy",
            "avg_digit_log_prob",
            "confidence",
            "ntl_loss",
        ):
            assert getattr(one, name).tolist() == [getattr(info, name)[row]]


def test_a_batch_is_a_mapping_to_lists_and_a_sample_to_plain_values(info):
    assert info["total_digits"] == [2, 1, 0] and info[:1]["total_digits"] == 2
    assert info["digit_values"] == [[1, 2], [7], []] and info[1:2]["digit_values"] == [7]
    assert len(info) == len(list(info)) == len(dict(info))


def test_an_entry_that_is_not_there_is_named_with_those_that_are(info):
    with pytest.raises(KeyError, match=r"digit_loss.*digit_positions, .*method"):
        info["digit_loss"]
    without = dataclasses.replace(info, digit_log_probs=None)
    assert "digit_log_probs" in info and "digit_log_probs" not in without and len(without) == len(info) - 1


def test_records_are_equal_only_to_themselves(info):
    assert info == info and info != dataclasses.replace(info) and len({info, info}) == 1
