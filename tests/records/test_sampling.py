# SPDX-License-Identifier: Apache-2.0
"""Which settings of sampling are refused."""

import pytest

from ntl_jax.records import Sampling


def test_wrong_sampling_settings_are_all_reported_at_once():
    with pytest.raises(ValueError, match=r"num_samples=0.*max_tokens=0.*temperature=-1.*stop_token_ids=\(-5,\)"):
        Sampling(num_samples=0, max_tokens=0, temperature=-1.0, stop_token_ids=(-5,))


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), -0.1])
def test_a_temperature_that_is_no_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        Sampling(num_samples=1, max_tokens=1, temperature=temperature)


def test_temperature_zero_is_allowed_and_means_greedy():
    assert Sampling(num_samples=1, max_tokens=1, temperature=0.0).temperature == 0


def test_truncation_settings_out_of_their_range_are_all_reported_at_once():
    with pytest.raises(ValueError, match=r"top_p=0\.0.*top_k=-1.*min_p=2\.0.*stop_strings='x'"):
        Sampling(num_samples=1, max_tokens=1, top_p=0.0, top_k=-1, min_p=2.0, stop_strings="x")  # pyright: ignore


@pytest.mark.parametrize(("settings", "expected"), [({}, False), ({"top_p": 0.9}, True), ({"top_k": 5}, True)])
def test_sampling_knows_whether_some_tokens_cannot_be_drawn(settings, expected):
    assert Sampling(num_samples=1, max_tokens=1, **settings).is_truncated == expected
