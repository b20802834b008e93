# SPDX-License-Identifier: Apache-2.0
"""Array operations promote no dtype silently."""

import jax
import pytest


@pytest.fixture(autouse=True)
def strict_dtype_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield
