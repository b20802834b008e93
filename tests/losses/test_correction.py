# SPDX-License-Identifier: Apache-2.0
"""Claims about off-policy correction: bounds, levels, rejection, diagnostics that combine, no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.correction import (
    banded_importance_weights,
    correction_metrics,
    correction_sums,
    sequence_rejection_mask,
    truncated_importance_weights,
)

# w = [1, 2, 4], [.5, .5, (4)], all of row 3 outside the mask; sequence weights 8 and .25.
WEIGHTS = np.array([[1.0, 2.0, 4.0], [0.5, 0.5, 4.0], [4.0, 4.0, 4.0]])
MASK = jnp.array([[True, True, True], [True, True, False], [False, False, False]])
ROLLOUT = jnp.array([[-1.0, -2.0, -3.0], [-0.5, -0.1, -2.0], [-1.0, -1.0, -1.0]])
OLD = ROLLOUT + jnp.log(jnp.array(WEIGHTS, jnp.float32))


def test_truncated_weights_of_tokens_and_of_sequences():
    weights = truncated_importance_weights(OLD, ROLLOUT, MASK, cap=3.0)
    np.testing.assert_allclose(weights, [[1, 2, 3], [0.5, 0.5, 0], [0, 0, 0]], rtol=1e-5)
    weights = truncated_importance_weights(OLD, ROLLOUT, MASK, cap=3.0, level="sequence")
    np.testing.assert_allclose(weights, [[3, 3, 3], [0.25, 0.25, 0], [0, 0, 0]], rtol=1e-5)


def test_banded_weights_of_tokens_and_of_sequences():
    weights = banded_importance_weights(OLD, ROLLOUT, MASK, low=0.75, high=3.0)
    np.testing.assert_allclose(weights, [[1, 2, 0], [0, 0, 0], [0, 0, 0]], rtol=1e-5)
    weights = banded_importance_weights(OLD, ROLLOUT, MASK, low=0.2, high=3.0, level="sequence")
    np.testing.assert_allclose(weights, [[0, 0, 0], [0.25, 0.25, 0], [0, 0, 0]], rtol=1e-5)


def test_the_edges_of_the_band_are_kept():
    same = jnp.full((1, 2), -1.0)
    assert banded_importance_weights(same, same, jnp.ones((1, 2), bool), low=1.0, high=1.0).all()


def test_rejection_by_the_mean_divergence_of_each_sequence():
    # mean k1 = mean log(1/w): row 0 -ln 8 / 3 = -.693, row 1 ln 2 = .693.
    kept = sequence_rejection_mask(OLD, ROLLOUT, MASK, statistic="mean_k1", low=-0.6, high=1.0)
    np.testing.assert_array_equal(kept, [[False] * 3, [True, True, False], [False] * 3])
    # k3 = w - ln w - 1: row 0 (0 + .307 + 1.614) / 3 = .640, row 1 .193.
    kept = sequence_rejection_mask(OLD, ROLLOUT, MASK, statistic="mean_k3", low=0.0, high=0.6)
    np.testing.assert_array_equal(kept, [[False] * 3, [True, True, False], [False] * 3])
    np.testing.assert_array_equal(sequence_rejection_mask(OLD, ROLLOUT, MASK, low=0.0, high=0.7), MASK)


def test_one_catastrophic_token_rejects_a_response_of_any_length():
    # k3 of log w = -15 is 14, so it rejects 139 tokens at 0.1; that of log w = 15 is 3.3e6.
    for log_weight, length, kept in [(-15.0, 139, False), (-15.0, 141, True), (15.0, 4096, False)]:
        rollout, mask = jnp.full((1, length), -20.0), jnp.ones((1, length), bool)
        old = rollout.at[0, 7].add(log_weight)
        assert sequence_rejection_mask(old, rollout, mask, low=0.0, high=0.1).all() == kept
        mean = (np.exp(log_weight) - log_weight - 1) / length
        np.testing.assert_allclose(correction_metrics(correction_sums(old, rollout, mask))["k3_kl"], mean, rtol=1e-5)
    # A bound of 10 or more rejects too.
    assert not sequence_rejection_mask(old, rollout, mask, low=0.0, high=100.0).any()


def test_ratio_bounds_convert_to_negative_logarithms_in_nats():
    # Geometric-mean weights 2 and 1/2; only the second is within [0.4, 1.5].
    low, high = -np.log(1.5), -np.log(0.4)
    kept = sequence_rejection_mask(OLD, ROLLOUT, MASK, statistic="mean_k1", low=low, high=high)
    np.testing.assert_array_equal(kept, [[False] * 3, [True, True, False], [False] * 3])
    with pytest.raises(
        ValueError, match=r"low=0\.5 and high=2\.0 .*if trainer and sampler agree.*low=-log\(b\), high=-log\(a\)"
    ):
        sequence_rejection_mask(OLD, ROLLOUT, MASK, statistic="mean_k1", low=0.5, high=2.0)
    with pytest.raises(ValueError, match=r"low=0\.05 and high=0\.1 .*with 0 within"):
        sequence_rejection_mask(OLD, ROLLOUT, MASK, low=0.05, high=0.1)
    with pytest.raises(ValueError, match=r"low=1\.5 and high=5\.0 .*with 1 within"):
        banded_importance_weights(OLD, ROLLOUT, MASK, low=1.5, high=5.0)


def test_the_effective_sample_size_uses_the_applied_weights():
    # w = 1, 2, 4, .5, .5: capped at 2 their sum is 6, that of squares 9.5; in [.75, 3] they are 1, 2, 0, 0, 0; with the
    # first row rejected 0, 0, 0, .5, .5.
    truncated = truncated_importance_weights(OLD, ROLLOUT, MASK, cap=2.0)
    banded = banded_importance_weights(OLD, ROLLOUT, MASK, low=0.75, high=3.0)
    rejected = truncated.at[0].set(0.0)
    for applied, expected in [(truncated, 36 / (5 * 9.5)), (banded, 9 / 25), (rejected, 1 / (5 * 0.5))]:
        sums = correction_sums(OLD, ROLLOUT, MASK, applied=applied)
        np.testing.assert_allclose(correction_metrics(sums)["effective_sample_size"], expected, rtol=1e-5)
    # Of sequences: w = 8 capped at 2, and .25.
    applied = truncated_importance_weights(OLD, ROLLOUT, MASK, cap=2.0, level="sequence")
    metrics = correction_metrics(correction_sums(OLD, ROLLOUT, MASK, applied=applied, level="sequence"))
    np.testing.assert_allclose(metrics["effective_sample_size"], 2.25**2 / (2 * 4.0625), rtol=1e-5)


def test_packed_rows_are_corrected_as_their_sequences():
    packed = [x.reshape(1, 9) for x in (OLD, ROLLOUT, MASK)]
    segment_ids = jnp.repeat(jnp.arange(3), 3)[None]
    for function, settings in [
        (truncated_importance_weights, {"level": "sequence"}),
        (banded_importance_weights, {"level": "sequence", "low": 0.1, "high": 5.0}),
        (sequence_rejection_mask, {"low": 0.0, "high": 0.6}),
    ]:
        separate = function(OLD, ROLLOUT, MASK, **settings)
        np.testing.assert_allclose(
            function(*packed, segment_ids=segment_ids, **settings).reshape(3, 3), separate, rtol=1e-6
        )
    sums = correction_sums(*packed, level="sequence", segment_ids=segment_ids)
    np.testing.assert_allclose(sums, correction_sums(OLD, ROLLOUT, MASK, level="sequence"), rtol=1e-5)


def test_weights_carry_no_gradient():
    def total(old, rollout):
        truncated = truncated_importance_weights(old, rollout, MASK, level="sequence")
        return jnp.sum(truncated + banded_importance_weights(old, rollout, MASK, low=0.1, high=9.0))

    assert not np.any(jax.grad(total, argnums=(0, 1))(OLD, ROLLOUT))


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_what_stands_outside_the_mask_changes_nothing(level, bad):
    old, rollout = (jnp.where(MASK, x, bad) for x in (OLD, ROLLOUT))
    for function in (truncated_importance_weights, correction_sums):
        np.testing.assert_array_equal(
            function(old, rollout, MASK, level=level), function(OLD, ROLLOUT, MASK, level=level)
        )


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_extreme_mismatch_stays_finite(level):
    old, rollout = jnp.array([[-1e4, -1.0], [-1.0, -1.0]]), jnp.array([[-1.0, -1.0], [-jnp.inf, -1e4]])
    mask = jnp.ones((2, 2), bool)
    weights = truncated_importance_weights(old, rollout, mask, level=level)
    metrics = correction_metrics(correction_sums(old, rollout, mask, level=level))
    assert np.isfinite(weights).all() and weights.max() == 2.0
    assert np.isfinite([float(x) for name, x in metrics.items() if name != "kl"]).all()


@pytest.mark.parametrize(
    ("level", "weights"), [("token", [1.0, 2.0, 4.0, 0.5, 0.5]), ("sequence", [8.0, 0.25])], ids=["token", "sequence"]
)
def test_metrics_equal_their_definitions(level, weights):
    w, tokens = np.array(weights), WEIGHTS[np.asarray(MASK)]
    metrics = correction_metrics(correction_sums(OLD, ROLLOUT, MASK, low=0.6, high=3.0, level=level))
    expected = {
        "effective_sample_size": w.sum() ** 2 / (len(w) * (w**2).sum()),
        "out_of_band_fraction": np.mean((w < 0.6) | (w > 3.0)),
        "mean_weight": w.mean(),
        "chi2": (w**2).mean() - 1,
        "kl": -np.log(tokens).mean(),
        "k3_kl": (tokens - np.log(tokens) - 1).mean(),
    }
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_sums_of_micro_batches_add_up(level):
    whole = correction_sums(OLD, ROLLOUT, MASK, level=level)
    parts = [correction_sums(OLD[i : i + 1], ROLLOUT[i : i + 1], MASK[i : i + 1], level=level) for i in range(3)]
    np.testing.assert_allclose(jax.tree.map(lambda *xs: sum(xs), *parts), whole, rtol=1e-6)


def test_without_mismatch_and_without_tokens_the_metrics_are_at_rest():
    at_rest = {"effective_sample_size": 1.0, "mean_weight": 1.0}
    for mask, rest in [(MASK, at_rest), (jnp.zeros((3, 3), bool), {})]:
        for name, value in correction_metrics(correction_sums(OLD, OLD, mask)).items():
            assert value == rest.get(name, 0.0), name


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="level='row'"):
        truncated_importance_weights(OLD, ROLLOUT, MASK, level="row")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="statistic='k2'"):
        sequence_rejection_mask(OLD, ROLLOUT, MASK, statistic="k2", low=0, high=1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="mask is float32"):
        correction_sums(OLD, ROLLOUT, MASK.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"rollout_log_probs \(3, 2\)"):
        correction_sums(OLD, ROLLOUT[:, :2], MASK)
