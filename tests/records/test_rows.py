# SPDX-License-Identifier: Apache-2.0
"""Which response tokens have a true number."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.records import Targets


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["host", "device"])
def test_a_token_has_a_number_if_it_counts_and_its_number_is_not_nan(array):
    targets = Targets(
        ids=array([[20, 6, 1]]), mask=array([[True, True, False]]), numbers=array([[float("nan"), 0.0, 5.0]])
    )
    assert targets.has_number.tolist() == [[False, True, False]]
