# SPDX-License-Identifier: Apache-2.0
"""Metrics of parts add up to those of the whole, whatever the parts."""

import functools
import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.metrics.sums import Mean, MetricSums


def sums_of(values, weights) -> MetricSums:
    values, weights = jnp.asarray(values, jnp.float32), jnp.asarray(weights, jnp.float32)
    return MetricSums({"mean": Mean(jnp.sum(values * weights), jnp.sum(weights))}, {"max": jnp.max(values)})


@pytest.mark.parametrize("sizes", [[12], [1, 11], [5, 0, 7], [4, 4, 4]])
def test_parts_of_any_size_give_the_mean_and_the_maximum_of_the_whole(sizes):
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=12), rng.uniform(size=12)
    ends = np.cumsum(sizes)[:-1]
    pairs = zip(np.split(values, ends), np.split(weights, ends), strict=True)
    metrics = functools.reduce(operator.add, (sums_of(x, w) for x, w in pairs if len(x))).to_dict()
    assert metrics["mean"] == pytest.approx(np.average(values, weights=weights), rel=1e-5)
    assert metrics["max"] == pytest.approx(values.max())


def test_a_mean_over_nothing_is_nan_and_adds_nothing():
    nothing = sums_of([0.0], [0.0])
    assert math.isnan(nothing.to_dict()["mean"])
    assert (nothing + sums_of([3.0], [2.0])).to_dict()["mean"] == 3.0


def test_sums_are_added_inside_a_program_too():
    total = jax.jit(operator.add)(sums_of([1.0], [1.0]), sums_of([4.0], [2.0]))
    assert total.to_dict() == {"mean": 3.0, "max": 4.0}


def test_metrics_that_only_some_updates_have_are_kept():
    whole = MetricSums({"loss": Mean(jnp.float32(2.0), jnp.float32(1.0))}, {})
    part = MetricSums(
        {"loss": Mean(jnp.float32(4.0), jnp.float32(1.0)), "noise": Mean(jnp.float32(6.0), jnp.float32(2.0))}, {}
    )
    assert (whole + part).to_dict() == (part + whole).to_dict() == {"loss": 3.0, "noise": 3.0}
