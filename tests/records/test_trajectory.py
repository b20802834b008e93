# SPDX-License-Identifier: Apache-2.0
"""Trajectories: their draw and the weights that wrote them."""

import numpy as np
import pytest

from ntl_jax.records import Trajectory, Version, VersionSpan


def trajectory(*iterations: int, **settings) -> Trajectory:
    spans = tuple(VersionSpan(i, i + 1, Version(n)) for i, n in enumerate(iterations))
    ids = np.arange(len(iterations))
    return Trajectory(5, 2, np.array([1]), ids, np.zeros(len(ids), np.float32), None, "stop", spans, **settings)


def test_the_version_of_a_response_is_the_oldest_that_wrote_it():
    assert trajectory(3).version == Version(3)
    assert trajectory(3, 4, 4).version == Version(3)


@pytest.mark.parametrize(("settings", "draw"), [({}, 5), ({"draw": 205}, 205), ({"draw": 0}, 0)])
def test_the_draw_is_the_prompts_index_unless_it_is_given(settings, draw):
    assert trajectory(0, **settings).draw == draw


def test_trajectories_are_compared_by_identity_since_arrays_are_elementwise():
    one, other = trajectory(0), trajectory(0)
    assert one == one and one != other
