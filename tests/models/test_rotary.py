# SPDX-License-Identifier: Apache-2.0
"""Rotary positions: angles grow with positions, and products of turned features depend on distances alone."""

import numpy as np

from ntl_jax.models import RopeScaling
from ntl_jax.models.rotary import rotary_frequencies


def test_scaling_leaves_fast_rotations_alone_and_slows_the_slowest_by_the_factor():
    plain = rotary_frequencies(64, 5e5)
    scaled = rotary_frequencies(64, 5e5, RopeScaling(8.0, 1.0, 4.0, 8192))
    np.testing.assert_array_equal(scaled[:8], plain[:8])
    np.testing.assert_allclose(scaled[-4:], plain[-4:] / 8, rtol=1e-6)
    assert np.all(np.diff(scaled) < 0)
