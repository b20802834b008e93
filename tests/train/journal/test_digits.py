# SPDX-License-Identifier: Apache-2.0
"""The NTL record of an iteration as a file, and in words."""

import logging

import numpy as np
import pytest

from ntl_jax.train.journal.digits import log_samples, save_digit_info


def test_the_file_holds_an_entry_for_every_digit_and_one_for_every_sample(scored, tmp_path):
    path = tmp_path / "digit_info" / "000003.npz"
    save_digit_info(scored, path)
    file, info = np.load(path), scored.ntl_info
    of_samples = {name for name in file.files if name.startswith("sample_")}
    assert {len(file[name]) for name in of_samples} == {8}
    assert {len(file[name]) for name in set(file.files) - of_samples} == {info.total_digits.sum()}
    np.testing.assert_array_equal(file["digit"], info.digit_values[file["sample"], file["position"]])
    np.testing.assert_array_equal(file["truth"], info.digit_ground_truth[file["sample"], file["position"]])
    assert file["sample_prompt"].tolist() == [prompt.index for prompt in scored.prompts]
    assert np.isnan(file["sample_reward"][-1]) and file["sample_reward"][0] == np.float32(0.9)
    np.testing.assert_allclose(np.exp(file["digit_log_probs"].astype(float)).sum(axis=1), 1, atol=2e-3)


def test_the_words_hold_what_went_into_and_came_out_of_the_reward_digit_by_digit(scored, caplog):
    with caplog.at_level(logging.INFO, logger="ntl"):
        log_samples(scored, [1, 2, 7])
    first, without_digit, failed = caplog.messages
    prompt = scored.prompts[1]
    assert f"prompt {prompt.index}: {prompt.text!r}" in first and f"true answer {prompt.ground_truth!r}" in first
    assert "digit 7 of log-prob -0.1054" in first and "likeliest 7 with 0.9000" in first
    assert "of 0 to 9: 0.011 0.011" in first and "reward 0.25, tau 1, {'length': 1.0}" in first
    assert "ntl_loss inf (mse)" in without_digit and "without a record: no digit" in without_digit
    assert "Traceback: no reward" in failed


def test_samples_without_a_record_are_logged_with_their_rewards(scored, caplog):
    with caplog.at_level(logging.INFO, logger="ntl"):
        log_samples(scored._replace(ntl_info=None), [0])
    assert "reward 0.9" in caplog.text and "position" not in caplog.text


def test_a_file_without_a_record_is_our_mistake(scored, tmp_path):
    with pytest.raises(AssertionError):
        save_digit_info(scored._replace(ntl_info=None), tmp_path / "x.npz")
