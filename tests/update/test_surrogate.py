# SPDX-License-Identifier: Apache-2.0
"""The objective that goes through the vocabulary head in one walk has the value and gradient of the plain formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax import losses
from ntl_jax.config import AlgorithmSection, CispoSection, ClippedSection, GspoSection, KLSection
from ntl_jax.losses.kl import KL_ESTIMATORS, KL_STATISTICS
from ntl_jax.losses.numbers import LOSSES
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import vocab_head
from ntl_jax.rows.packing import pack
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.update.objectives import NumberLoss, PolicyObjective
from ntl_jax.update.surrogate import policy_loss
from ntl_jax.update.weights import weighed

VOCAB, WIDTH, TEMPERATURE = 24, 8, 0.7
TABLE = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=VOCAB)
CLIP: dict[str, float] = {"clip_low": 0.1, "clip_high": 0.3}
PLAIN = {
    "clipped": lambda new, old, A, mask: losses.clipped_policy_loss(new, old, A, **CLIP, dual_clip=3.0),
    "gspo": lambda new, old, A, mask: losses.gspo_policy_loss(new, old, A, mask, clip_low=0.1, clip_high=0.3),
    "cispo": lambda new, old, A, mask: losses.cispo_policy_loss(new, old, A, **CLIP),
    "sapo": lambda new, old, A, mask: losses.sapo_policy_loss(new, old, A),
    "reinforce": lambda new, old, A, mask: losses.reinforce_policy_loss(new, old, A),
}
MODES = ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    prompts, responses = ([rng.integers(0, VOCAB, n) for n in lengths] for lengths in ((3, 1, 2, 2), (6, 3, 2, 5)))
    truth = [np.where(rng.uniform(size=len(r)) < 0.5, rng.integers(0, 10, len(r)), np.nan) for r in responses]
    batch = pad_rows(prompts, responses, RowShape(16, 8), number_targets=truth)
    noise = {name: rng.normal(size=batch.mask.shape).astype(np.float32) for name in ("advantages", "old_log_probs")}
    old = noise["old_log_probs"] * 0.3 - 3
    return batch._replace(advantages=noise["advantages"], old_log_probs=old, reference_log_probs=old + 0.1)


def states(rows, seed=1):
    """Hidden states by (row, position), and a head."""
    keys = jax.random.split(jax.random.key(seed))
    return jax.random.normal(keys[0], (*rows.tokens.shape, WIDTH)), 0.3 * jax.random.normal(keys[1], (WIDTH, VOCAB))


def plain_loss(hidden, head, rows, objective, mode):
    stats = vocab_head(hidden, head, rows.targets, TABLE.ids, temperature=TEMPERATURE)
    loss = PLAIN[objective](stats.log_probs, rows.old_log_probs, rows.advantages, rows.mask)
    loss += 0.2 * losses.kl_k2(stats.log_probs, rows.reference_log_probs) - 0.01 * stats.entropy
    numbers = rows.mask & ~np.isnan(rows.number_targets)
    ntl = jnp.where(numbers, LOSSES["mse"](stats.number_log_probs, jnp.asarray(rows.number_targets), TABLE.values), 0.0)
    return losses.aggregate(loss + 0.1 * ntl, jnp.asarray(rows.mask), mode=mode, scale=8)


def close(a, b) -> bool:
    """Whether two gradients differ by at most 1e-6 in relative norm."""
    difference, size = (np.sqrt(sum(np.sum(np.square(x)) for x in xs)) for xs in ([a[0] - b[0], a[1] - b[1]], b))
    return bool(difference <= 1e-6 * size)


@pytest.mark.parametrize(
    ("objective", "mode"),
    [("clipped", mode) for mode in MODES] + [(name, "seq-mean-token-mean") for name in PLAIN if name != "clipped"],
)
def test_loss_and_gradient_are_those_of_the_plain_formula_packed_or_not(rows, objective, mode):
    clips = {
        "clipped": ClippedSection(**CLIP, dual_clip=3.0),
        "gspo": GspoSection(**CLIP),
        "cispo": CispoSection(**CLIP),
    }
    kl = KLSection(weight=0.2, estimator="k2")
    algorithm = AlgorithmSection(objective=objective, kl=kl, entropy_weight=0.01, **clips)  # pyright: ignore
    fused = PolicyObjective(algorithm, NumberLoss(TABLE, "mse", 0.1), TEMPERATURE)
    batch = weighed(rows, mode=mode, scale=8, reference_weight=0.2)
    hidden, head = states(batch)

    def at_predictors(hidden, batch):
        return jnp.take_along_axis(hidden, jnp.asarray(batch.predictors)[:, :, None], axis=1)

    def plain(hidden, head):
        return plain_loss(at_predictors(hidden, rows), head, rows, objective, mode)

    def unpacked(hidden, head):
        return fused(at_predictors(hidden, batch), head, batch)[0]

    packed = pack(batch)
    assert len(packed.mask) < len(batch.mask)
    # A packed row holds a response's states one after the other: find each sequence by its tokens' places.
    source = pack(
        batch._replace(tokens=np.arange(batch.tokens.size, dtype=np.int32).reshape(batch.tokens.shape))
    ).tokens

    def from_packed(hidden, head):
        moved = hidden.reshape(-1, WIDTH)[source]
        return fused(at_predictors(moved, packed), head, packed)[0]

    expected, gradient = jax.value_and_grad(plain, argnums=(0, 1))(hidden, head)
    for function in (unpacked, from_packed):
        value, got = jax.value_and_grad(function, argnums=(0, 1))(hidden, head)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        assert close(got, gradient)


@pytest.mark.parametrize("objective", PLAIN)
def test_the_weight_of_a_correction_is_a_weight_on_the_loss(rows, objective):
    algorithm = AlgorithmSection(objective=objective, clipped=ClippedSection(dual_clip=1.5))
    weights = np.random.default_rng(2).choice([0.0, 0.3, 2.0], rows.mask.shape).astype(np.float32)
    log_probs = jnp.asarray(rows.old_log_probs + 0.5)
    weighed_rows = rows._replace(correction_weights=weights)
    expected = weights * policy_loss(algorithm, log_probs, rows)
    np.testing.assert_allclose(policy_loss(algorithm, log_probs, weighed_rows), expected, rtol=1e-5, atol=1e-6)


def test_the_reported_divergence_is_not_clipped_like_the_loss_term(rows):
    # d = 15 on each token: k3 is 14, as a loss term 10 with gradient 0.
    kl = KLSection(weight=0.2, estimator="k3")
    objective = PolicyObjective(AlgorithmSection(kl=kl), NumberLoss(TABLE, "mse", 0.0), TEMPERATURE)
    batch = weighed(rows, mode="token-mean", scale=8, reference_weight=0.2)
    hidden, head = states(batch)
    hidden = jnp.take_along_axis(hidden, jnp.asarray(batch.predictors)[:, :, None], axis=1)
    log_probs = vocab_head(hidden, head, batch.targets, TABLE.ids, temperature=TEMPERATURE).log_probs
    batch = batch._replace(reference_log_probs=np.asarray(log_probs) - 15.0)
    metrics = objective(hidden, head, batch)[1].to_dict()
    np.testing.assert_allclose(metrics["actor/kl_loss"], 14.0, rtol=1e-5)
    assert KL_ESTIMATORS.keys() == KL_STATISTICS.keys()


@pytest.mark.parametrize("objective", ["clipped", "gspo"])
def test_loss_and_metrics_equal_those_of_a_head_without_padding_rows(rows, objective):
    algorithm = AlgorithmSection(objective=objective, kl=KLSection(weight=0.2), entropy_weight=0.01)
    batch = weighed(rows._replace(targets=rows.targets % 18), mode="token-mean", scale=8, reference_weight=0.2)
    hidden, head = states(batch)
    at_predictors = jnp.take_along_axis(hidden, jnp.asarray(batch.predictors)[:, :, None], axis=1)

    def result(head, num_tokens):
        fused = PolicyObjective(algorithm, NumberLoss(TABLE, "mse", 0.1), TEMPERATURE, num_tokens)
        return jax.value_and_grad(lambda x, head: fused(x, head, batch), argnums=(0, 1), has_aux=True)(
            at_predictors, head
        )

    (loss, metrics), (d_hidden, d_head) = result(head, 18)
    (expected, expected_metrics), (expected_d_hidden, expected_d_head) = result(head[:, :18], None)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert close((d_hidden, d_head[:, :18]), (expected_d_hidden, expected_d_head))
    assert not jnp.any(d_head[:, 18:])
    for name, value in expected_metrics.to_dict().items():
        np.testing.assert_allclose(metrics.to_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert metrics.to_dict()["actor/ntl_loss"] > 0
