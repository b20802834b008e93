# SPDX-License-Identifier: Apache-2.0
"""A trajectory's version and draw."""

import numpy as np

from ntl_jax.records import Trajectory, Version, VersionSpan


def trajectory(*versions: int, **more) -> Trajectory:
    spans = tuple(VersionSpan(i, i + 1, Version(v)) for i, v in enumerate(versions))
    ids, log_probs = np.arange(len(versions)), np.zeros(len(versions), np.float32)
    return Trajectory(4, 0, np.array([7]), ids, log_probs, None, "stop", spans, **more)


def test_the_version_of_a_response_is_the_oldest_that_wrote_in_it():
    assert trajectory(3).version == Version(3)
    assert trajectory(3, 4, 6).version == Version(3)


def test_without_a_draw_the_problems_index_is_the_draw():
    assert (trajectory(0).draw, trajectory(0, draw=12).draw) == (4, 12)
