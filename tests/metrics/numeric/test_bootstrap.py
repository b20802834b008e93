# SPDX-License-Identifier: Apache-2.0
"""The paired bootstrap against what is known of small cases, and how often its intervals hold the truth."""

import math

import numpy as np
import pytest

from ntl_jax.metrics.numeric import paired_interval


def test_two_problems_have_the_interval_of_their_four_draws():
    """The differences are 1 and 0: a mean of 0, 1/2 or 1 has probability 1/4, 1/2 and 1/4."""
    first, second = np.array([1.0, 0.0]), np.array([0.0, 0.0])
    assert paired_interval(first, second) == (0.5, 0.0, 1.0)
    assert paired_interval(first, second, level=0.4) == (0.5, 0.5, 0.5)


def test_a_constant_difference_has_no_width_however_much_the_problems_differ():
    values = np.random.default_rng(0).normal(size=50) * 100
    assert paired_interval(values + 0.25, values) == pytest.approx((0.25, 0.25, 0.25))


def test_exchanging_the_policies_turns_the_interval_round():
    rng = np.random.default_rng(1)
    first, second = rng.random(40), rng.random(40)
    for statistic in ("mean", "median"):
        value, low, high = paired_interval(first, second, statistic)
        assert paired_interval(second, first, statistic) == pytest.approx((-value, -high, -low))


def test_the_width_is_that_of_the_normal_distribution():
    first = np.random.default_rng(2).normal(size=400)
    _, low, high = paired_interval(first, np.zeros(400), num_resamples=8000)
    assert high - low == pytest.approx(2 * 1.96 * first.std() / 20, rel=0.05)


def test_95_of_100_intervals_hold_the_true_difference():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        shared = rng.random(100)
        first, second = rng.random(100) < 0.2 + 0.6 * shared, rng.random(100) < 0.1 + 0.6 * shared
        _, low, high = paired_interval(first.astype(float), second.astype(float), num_resamples=300, seed=seed)
        hits += low <= 0.1 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_medians_may_be_infinite_and_then_have_no_difference():
    finite, infinite = np.array([0.1, 0.2, np.inf, 0.3, 0.1]), np.full(5, np.inf)
    assert all(map(math.isnan, paired_interval(finite, infinite, "median")))
    assert all(map(math.isnan, paired_interval(infinite, infinite, "median")))
    mostly = np.array([0.0] * 20 + [np.inf])
    assert paired_interval(mostly, np.zeros(21), "median") == (0, 0, 0)


def test_no_problems_have_no_difference():
    assert all(map(math.isnan, paired_interval(np.zeros(0), np.zeros(0))))
