# SPDX-License-Identifier: Apache-2.0
"""Claims about the correction section: its metrics describe the applied weights."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.config import CorrectionSection
from ntl_jax.experience.off_policy import off_policy_correction

# w = 1, 4 and .5, 1; the mean k3 of the first row is (3 - ln 4) / 2 = .807, of the second (ln 2 - .5) / 2 = .097.
ROLLOUT, MASK = jnp.full((2, 2), -2.0), jnp.ones((2, 2), bool)
OLD = ROLLOUT + jnp.log(jnp.array([[1.0, 4.0], [0.5, 1.0]]))
correct = jax.jit(off_policy_correction, static_argnums=0)


@pytest.mark.parametrize(
    ("settings", "applied"),
    [
        ({}, [1, 2, 0.5, 1]),
        ({"weights": "none"}, [1, 1, 1, 1]),
        ({"weights": "banded", "low": 0.75, "high": 5.0}, [1, 4, 0, 1]),
        ({"level": "sequence", "high": 3.0}, [3, 3, 0.5, 0.5]),
        ({"rejection": "mean_k3", "reject_above": 0.1}, [0, 0, 0.5, 1]),
        ({"rejection": "mean_k1", "reject_below": -0.5}, [0, 0, 0.5, 1]),
    ],
    ids=str,
)
def test_the_effective_sample_size_is_that_of_the_applied_weights(settings, applied):
    corrected = correct(CorrectionSection(**settings), OLD, ROLLOUT, MASK)
    chex.assert_shape([corrected.weights, corrected.mask], (2, 2))
    np.testing.assert_allclose((corrected.weights * corrected.mask).ravel(), applied, rtol=1e-5)
    size = np.sum(applied) ** 2 / (4 * np.sum(np.square(applied)))
    np.testing.assert_allclose(corrected.metrics["rollout_corr/rollout_is_eff_sample_size"], size, rtol=1e-5)
    mean = {"token": 6.5 / 4, "sequence": (4 + 4 + 0.5 + 0.5) / 4}[settings.get("level", "token")]
    np.testing.assert_allclose(corrected.metrics["rollout_corr/rollout_is_mean"], mean, rtol=1e-5)


def test_one_token_with_a_tiny_trainer_probability_rejects_the_response():
    rollout, mask = jnp.full((1, 512), -1.0), jnp.ones((1, 512), bool)
    old = rollout.at[0, 100].set(-1.0 - 60.0)  # its k3 is 59: .115 a token
    section = CorrectionSection(rejection="mean_k3", reject_above=0.1)
    corrected = correct(section, old, rollout, mask)
    chex.assert_tree_all_finite(corrected.metrics)
    assert not corrected.mask.any() and corrected.metrics["rollout_corr/rejected"] == 1
    np.testing.assert_allclose(corrected.metrics["rollout_corr/k3_kl"], 59 / 512, rtol=1e-5)


def test_a_response_that_was_masked_before_is_not_counted_as_rejected():
    section = CorrectionSection(rejection="mean_k3", reject_above=0.1)
    corrected = correct(section, OLD, ROLLOUT, MASK.at[0].set(False))
    assert corrected.metrics["rollout_corr/rejected"] == 0
    assert corrected.mask.tolist() == [[False, False], [True, True]]
    assert "rollout_corr/rejected" not in correct(CorrectionSection(), OLD, ROLLOUT, MASK).metrics


@pytest.mark.parametrize(
    ("settings", "fraction"),
    [
        ({"weights": "truncated", "low": 0.75, "high": 5.0}, 0),
        ({"weights": "banded", "low": 0.75, "high": 5.0}, 1 / 4),
    ],
    ids=str,
)
def test_small_weights_are_out_of_the_band_only_where_there_is_one(settings, fraction):
    metrics = correct(CorrectionSection(**settings), OLD, ROLLOUT, MASK).metrics
    assert metrics["rollout_corr/out_of_band_fraction"] == fraction
