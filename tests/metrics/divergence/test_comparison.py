# SPDX-License-Identifier: Apache-2.0
"""Aggregates equal values computed by hand, in every layout of the rows."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.metrics.divergence.comparison import PREFIX, LogProbs, compare

ROLLOUT = np.array([[0.5, 0.5, 0.8], [0.25, 1.0, 0.3]])
ACTOR = np.array([[0.5, 0.25, 0.4], [0.75, 1.0, 0.9]])
MASK = np.array([[True, True, False], [True, True, False]])
SIDES = LogProbs(np.log(ROLLOUT), np.log(ACTOR), MASK)
LN2, LN3 = np.log(2.0), np.log(3.0)
# Of the four tokens: differences 0, 1/4, 1/2, 0; weights 1, 1/2, 3, 1; of the two responses 1/2 and 3.
BY_HAND = {
    f"{PREFIX}_valid": 1.0,
    f"{PREFIX}_tokens": 4.0,
    f"{PREFIX}_max": 0.5,
    f"{PREFIX}_mean": 0.1875,
    f"{PREFIX}_std": np.sqrt((0.1875**2 + 0.0625**2 + 0.3125**2 + 0.1875**2) / 3),
    "training/rollout_actor_probs_pearson_corr": np.corrcoef([0.5, 0.5, 0.25, 1.0], [0.5, 0.25, 0.75, 1.0])[0, 1],
    "rollout_corr/kl": (LN2 - LN3) / 4,
    "rollout_corr/k3_kl": ((0.5 - 1 + LN2) + (3 - 1 - LN3)) / 4,
    "rollout_corr/training_ppl": (np.sqrt(2 * 4) + np.sqrt(4 / 3)) / 2,
    "rollout_corr/rollout_ppl": (2 + np.sqrt(4)) / 2,
    "rollout_corr/ppl_ratio": (np.sqrt(2) + np.sqrt(1 / 3)) / 2,
    "rollout_corr/chi2_token": (1 + 0.25 + 9 + 1) / 4 - 1,
    "rollout_corr/chi2_seq": (0.25 + 9) / 2 - 1,
    "rollout_corr/rollout_is_mean": 5.5 / 4,
    "rollout_corr/rollout_is_eff_sample_size": 5.5**2 / (4 * 11.25),
    "rollout_corr/beyond_factor_two_fraction": 0.25,  # a factor of exactly 2 is not beyond it
}


def test_aggregates_equal_hand_computed_values():
    found = compare(SIDES, top_k=2)
    assert found.metrics.keys() == BY_HAND.keys()
    for name, value in BY_HAND.items():
        assert found.metrics[name] == pytest.approx(value, rel=1e-5), name
    assert (found.kl, found.max) == (found.metrics["rollout_corr/kl"], 0.5)
    assert found.mean_log_ratio == pytest.approx((LN2 + LN3) / 4)


def test_packed_rows_have_the_aggregates_of_one_response_per_row():
    packed = LogProbs(*(x[MASK][None] for x in (SIDES.rollout, SIDES.actor, MASK)), segments=np.array([[1, 1, 2, 2]]))
    found = compare(packed, top_k=2).metrics
    for name, value in BY_HAND.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_the_most_divergent_tokens_come_first_and_masked_ones_never():
    top = compare(SIDES, top_k=10).top
    assert [*zip(top.rows.tolist(), top.positions.tolist(), strict=True)][:2] == [(1, 0), (0, 1)]
    assert len(top.rows) == 4
    assert np.exp(top.rollout[0]) == pytest.approx(0.25) and np.exp(top.actor[0]) == pytest.approx(0.75)


def test_without_a_token_valid_is_zero_and_all_else_is_nan():
    found = compare(SIDES._replace(mask=np.zeros_like(MASK)), top_k=3)
    assert found.metrics.pop(f"{PREFIX}_valid") == found.metrics.pop(f"{PREFIX}_tokens") == 0
    assert all(np.isnan(value) for value in found.metrics.values()) and len(found.top.rows) == 0


def test_what_masked_tokens_hold_changes_nothing():
    spoiled = SIDES._replace(rollout=np.where(MASK, SIDES.rollout, np.nan), actor=np.where(MASK, SIDES.actor, -np.inf))
    assert compare(spoiled, top_k=2).metrics == compare(SIDES, top_k=2).metrics


def test_equal_sides_correlate_and_have_weights_of_one():
    same = compare(SIDES._replace(actor=SIDES.rollout), top_k=1).metrics
    assert same["training/rollout_actor_probs_pearson_corr"] == pytest.approx(1.0)
    assert same["rollout_corr/rollout_is_mean"] == same["rollout_corr/rollout_is_eff_sample_size"] == 1
    assert same[f"{PREFIX}_max"] == same["rollout_corr/kl"] == same["rollout_corr/chi2_seq"] == 0


def test_a_log_prob_that_is_not_a_number_shows_in_the_aggregates_and_is_the_first_token():
    rollout = SIDES.rollout.copy()
    rollout[0, 0] = np.nan
    found = compare(SIDES._replace(rollout=rollout), top_k=1)
    assert np.isnan(found.mean) and found.top.positions.tolist() == [0]


def test_a_token_that_one_side_rules_out_keeps_the_aggregates_finite():
    actor = SIDES.actor.copy()
    actor[0, 0] = -np.inf
    found = compare(SIDES._replace(actor=actor), top_k=1).metrics
    assert all(np.isfinite(value) for name, value in found.items() if "ppl" not in name)


def test_each_kind_of_token_has_aggregates_of_its_own_and_a_kind_without_tokens_has_none():
    kinds = np.array([[3, 0, 1], [0, 3, 1]], np.int8)
    found = compare(SIDES._replace(kinds=kinds), top_k=1).metrics
    assert found["mismatch/answer_digits/mean"] == pytest.approx(0.375)
    assert found["mismatch/answer_digits/kl"] == pytest.approx((LN2 - LN3) / 2)
    assert found["mismatch/answer_digits/max"] == 0.5 and found["mismatch/other/max"] == 0
    assert not [name for name in found if name.startswith(("mismatch/digits", "mismatch/operators"))]


def test_bfloat16_log_probs_are_compared_in_float32():
    half = LogProbs(jnp.asarray(SIDES.rollout, jnp.bfloat16), jnp.asarray(SIDES.actor, jnp.bfloat16), jnp.asarray(MASK))
    assert compare(half, top_k=1).metrics[f"{PREFIX}_max"] == pytest.approx(0.5, abs=0.01)
