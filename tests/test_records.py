# SPDX-License-Identifier: Apache-2.0
"""The records' own arithmetic: what a batch of number information adds up to, and which settings are refused."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.records import NTLInfo, Sampling

LOG_01 = np.log(0.1)


@pytest.fixture
def info():
    """Three responses: "12" where 13 was right, "7" without truth, and no digit where two places were expected."""
    digit_log_probs = np.zeros((3, 3, 10), np.float32)
    digit_log_probs[0, 0] = np.where(np.arange(10) == 1, -0.1, -5.0)
    digit_log_probs[0, 1] = np.where(np.arange(10) == 2, -0.3, -5.0)
    digit_log_probs[1, 2] = LOG_01
    is_digit = np.array([[True, True, False], [False, False, True], [False, False, False]])
    truth = np.array([[1, 3, -1], [-1, -1, -1], [-1, -1, -1]])
    selected = np.array([[-0.1, -0.3, 0.0], [0.0, 0.0, LOG_01], [0.0, 0.0, 0.0]], np.float32)
    return NTLInfo(
        digit_log_probs=digit_log_probs,
        is_digit=is_digit,
        digit_ground_truth=truth,
        surplus=np.zeros_like(is_digit),
        missing_places=np.array([0, 0, 2]),
        digit_log_probs_selected=selected,
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


def test_one_samples_information_is_the_batchs_row(info):
    for row in range(info.batch_size):
        one = info[row : row + 1]
        assert one.batch_size == 1 and one.method == "mse"
        assert one.sequence_strings == (info.sequence_strings[row],)
        for name in ("total_digits", "correct_digits", "digit_accuracy", "avg_digit_log_prob", "ntl_loss"):
            assert getattr(one, name).tolist() == [getattr(info, name)[row]]


def test_wrong_sampling_settings_are_all_reported_at_once():
    with pytest.raises(ValueError, match=r"num_samples=0.*max_tokens=0.*temperature=-1.*stop_token_ids=\(-5,\)"):
        Sampling(num_samples=0, max_tokens=0, temperature=-1.0, stop_token_ids=(-5,))


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), -0.1])
def test_a_temperature_that_is_no_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        Sampling(num_samples=1, max_tokens=1, temperature=temperature)


def test_temperature_zero_is_allowed_and_means_greedy():
    assert Sampling(num_samples=1, max_tokens=1, temperature=0.0).temperature == 0
