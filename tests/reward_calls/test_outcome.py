# SPDX-License-Identifier: Apache-2.0
"""What functions return becomes a score, or a reason why there is none."""

import numpy as np
import pytest

from ntl_jax.rewards import RewardOutcome


@pytest.mark.parametrize("score", [1e6, -1e6, 0, np.float16(0.5)])
def test_scores_of_ordinary_size_are_taken(score):
    assert RewardOutcome.of(score) == (np.float32(score), True, {}, None)


@pytest.mark.parametrize("score", [1.1e6, -1e30, np.inf, np.nan])
def test_scores_whose_squares_float32_cannot_add_are_refused(score):
    outcome = RewardOutcome.of({"score": score, "other": 1})
    assert not outcome.valid and outcome.error is not None and "from -1e+06 to 1e+06" in outcome.error


def test_long_keys_are_cut():
    assert list(RewardOutcome.of({"score": 1, "k" * 1_000_000: 2}).metrics) == ["k" * 80]
