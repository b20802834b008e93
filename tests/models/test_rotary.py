# SPDX-License-Identifier: Apache-2.0
"""Rotary positions: angles grow with positions, and products of turned features depend on distances alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.models import RopeScaling
from ntl_jax.models.rotary import rotary_angles, rotary_frequencies, rotate


def test_scaling_leaves_fast_rotations_alone_and_slows_the_slowest_by_the_factor():
    plain = rotary_frequencies(64, 5e5)
    scaled = rotary_frequencies(64, 5e5, RopeScaling(8.0, 1.0, 4.0, 8192))
    np.testing.assert_array_equal(scaled[:8], plain[:8])
    np.testing.assert_allclose(scaled[-4:], plain[-4:] / 8, rtol=1e-6)
    assert np.all(np.diff(scaled) < 0)


def test_products_of_turned_features_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(rng.normal(size=(1, 1, 1, 8)), jnp.float32) for _ in range(2))
    frequencies = rotary_frequencies(8, 100.0)

    def product(at: int, other: int) -> float:
        turned = (rotate(x, rotary_angles(jnp.array([[p]]), frequencies)) for x, p in ((q, at), (k, other)))
        return float(np.sum(np.prod([np.asarray(x) for x in turned], axis=0)))

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert product(7, 3) != pytest.approx(product(7, 4), abs=1e-2)
    assert product(5, 5) == pytest.approx(float(np.sum(np.asarray(q) * np.asarray(k))), abs=1e-5)


def test_a_feature_pairs_with_the_one_half_the_size_behind_it():
    x = jnp.asarray([[[[1.0, 0.0, 0.0, 0.0]]]])
    turned = rotate(x, jnp.full((1, 1, 2), np.pi / 2))
    np.testing.assert_allclose(turned[0, 0, 0], [0.0, 0.0, 1.0, 0.0], atol=1e-6)


def test_angles_are_in_float32_for_features_of_any_dtype():
    positions = jnp.array([[100_001]])
    angles = rotary_angles(positions, rotary_frequencies(4, 100.0))
    np.testing.assert_allclose(angles[0, 0], [100_001.0, 10_000.1], rtol=1e-6)
    assert rotate(jnp.ones((1, 1, 2, 4), jnp.bfloat16), angles).dtype == jnp.bfloat16
