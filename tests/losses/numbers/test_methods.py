# SPDX-License-Identifier: Apache-2.0
"""What a distribution over number tokens says: its favorite, and the truth's share."""

import jax
import jax.numpy as jnp
import numpy as np

from ntl_jax.losses.numbers import shares


def test_tokens_of_one_value_are_taken_together():
    logits, values = jnp.log(jnp.array([[0.3, 0.25, 0.2, 0.25]])), np.array([7.0, 12.0, 12.0, 345.0])
    predicted, top, of_truth = jax.jit(lambda x, truth: shares(x, truth, values))(logits, jnp.array([12.0]))
    np.testing.assert_allclose([predicted[0], top[0], of_truth[0]], [12, 0.45, 0.45], rtol=1e-5)
