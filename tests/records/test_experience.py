# SPDX-License-Identifier: Apache-2.0
"""An experience counts the tokens that its targets count."""

import jax
import numpy as np

from ntl_jax.records import Experience, Targets

TARGETS = Targets(np.array([[20, 6, 1]]), np.array([[True, True, False]]), np.array([[np.nan, 5, np.nan]]))


def test_the_mask_is_that_of_the_targets_and_absent_parts_are_no_leaves():
    experience = Experience(TARGETS, np.zeros((1, 3)), -np.ones((1, 3)))
    assert experience.mask is TARGETS.mask
    assert len(jax.tree.leaves(experience)) == 5
