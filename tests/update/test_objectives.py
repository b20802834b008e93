# SPDX-License-Identifier: Apache-2.0
"""Objectives that go through the vocabulary head in one walk have the values and gradients of the plain formulas."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax import losses
from ntl_jax.config import AlgorithmSection, CispoSection, ClippedSection, GspoSection, KLSection
from ntl_jax.losses.kl import KL_ESTIMATORS, KL_STATISTICS
from ntl_jax.losses.numbers import LOSSES
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import vocab_head_dense
from ntl_jax.records import Batch, Experience, Values
from ntl_jax.rows.packing import pack
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import response_segments
from ntl_jax.update.objectives import NumberLoss, PolicyObjective, supervised_objective, value_objective
from ntl_jax.update.weights import policy_weights, supervised_weights

VOCAB, WIDTH, TEMPERATURE = 24, 8, 0.7
TABLE = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=VOCAB)
NUMBERS = NumberLoss(TABLE, "mse", 0.1)
CLIP: dict[str, float] = {"clip_low": 0.1, "clip_high": 0.3}
PLAIN = {
    "clipped": lambda new, old, A, mask: losses.clipped_policy_loss(new, old, A, **CLIP, dual_clip=3.0),
    "gspo": lambda new, old, A, mask: losses.gspo_policy_loss(new, old, A, mask, clip_low=0.1, clip_high=0.3),
    "cispo": lambda new, old, A, mask: losses.cispo_policy_loss(new, old, A, **CLIP),
    "sapo": lambda new, old, A, mask: losses.sapo_policy_loss(new, old, A),
    "reinforce": lambda new, old, A, mask: losses.reinforce_policy_loss(new, old, A),
}
SECTIONS: dict[str, Any] = {
    "clipped": ClippedSection(**CLIP, dual_clip=3.0),
    "gspo": GspoSection(**CLIP),
    "cispo": CispoSection(**CLIP),
}
MODES = ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]


@pytest.fixture(scope="module")
def rows() -> Batch[Experience]:
    """Four sequences, of which some fit into one row; weights are those of token-mean."""
    rng = np.random.default_rng(0)
    prompts, responses = ([rng.integers(0, VOCAB, n) for n in lengths] for lengths in ((3, 1, 2, 2), (6, 3, 2, 5)))
    numbers = [np.where(rng.uniform(size=len(r)) < 0.5, rng.integers(0, 10, len(r)), np.nan) for r in responses]
    rows, targets = pad_rows(prompts, responses, RowShape(16, 8), numbers=numbers)
    advantages, old = rng.normal(size=(2, *targets.mask.shape)).astype(np.float32)
    old = old * np.float32(0.3) - 3
    experience = Experience(targets, old, advantages, reference_log_probs=old + np.float32(0.1))
    return Batch(rows, experience, policy_weights(experience, scale=8, reference_weight=0.2))


@pytest.fixture(scope="module")
def states(rows):
    """Hidden states of the response tokens, and a head."""
    keys = jax.random.split(jax.random.key(1))
    hidden = jax.random.normal(keys[0], (*rows.tokens.mask.shape, WIDTH))
    return hidden, 0.3 * jax.random.normal(keys[1], (WIDTH, VOCAB))


def algorithm_of(objective: Any, **settings: Any) -> AlgorithmSection:
    kl = KLSection(weight=0.2, estimator="k2")
    return AlgorithmSection(objective=objective, **{"kl": kl, "entropy_weight": 0.01, **SECTIONS, **settings})


def plain_loss(objective: str, hidden, head, batch: Batch[Experience]):
    """From logits in memory; the weights are those of the batch."""
    tokens, weights = jax.tree.map(jnp.asarray, (batch.tokens, batch.weights))
    stats = vocab_head_dense(hidden, head, tokens.targets.ids, TABLE.ids, temperature=TEMPERATURE)
    loss = PLAIN[objective](stats.log_probs, tokens.old_log_probs, tokens.advantages, tokens.mask)
    divergence = losses.kl_k2(stats.log_probs, tokens.reference_log_probs)
    has_number = tokens.mask & ~jnp.isnan(tokens.targets.numbers)
    ntl = jnp.where(has_number, LOSSES["mse"](stats.number_log_probs, tokens.targets.numbers, TABLE.values), 0.0)
    loss = weights.loss * (loss - 0.01 * stats.entropy + 0.1 * ntl) + weights.reference * divergence
    return jnp.sum(jnp.where(tokens.mask, loss, 0.0))


@pytest.fixture(scope="module")
def compiled():
    """Value and gradient of each objective: plain, fused, and fused from packed rows; one program for all weights."""

    def make(objective: str):
        fused = PolicyObjective(algorithm_of(objective), NUMBERS, TEMPERATURE)

        def plain(hidden, head, batch):
            return plain_loss(objective, hidden, head, batch)

        def unpacked(hidden, head, batch):
            return fused(hidden, head, batch.tokens, batch.weights).total

        def from_packed(hidden, head, packed, source):
            moved = hidden.reshape(-1, WIDTH)[source]
            return fused(moved, head, packed.tokens, packed.weights, response_segments(packed.rows)).total

        return [jax.jit(jax.value_and_grad(f, argnums=(0, 1))) for f in (plain, unpacked, from_packed)]

    return functools.cache(make)


@pytest.mark.parametrize(
    ("objective", "mode"),
    [("clipped", mode) for mode in MODES] + [(name, "seq-mean-token-mean") for name in PLAIN if name != "clipped"],
)
def test_loss_and_gradient_are_those_of_the_plain_formula_packed_or_not(rows, states, compiled, objective, mode):
    batch = rows._replace(weights=policy_weights(rows.tokens, mode=mode, scale=8, reference_weight=0.2))
    packed = pack(batch)
    assert len(packed.tokens.mask) < len(batch.tokens.mask) and packed.rows.segment_ids is not None
    # Where a token of a packed row comes from: pack the tokens' numbers in the place of log-probs.
    numbered = np.arange(batch.tokens.mask.size, dtype=np.int32).reshape(batch.tokens.mask.shape)
    source = pack(batch._replace(tokens=batch.tokens._replace(old_log_probs=numbered))).tokens.old_log_probs
    plain, unpacked, from_packed = compiled(objective)
    expected, gradient = plain(*states, batch)
    for value, got in (unpacked(*states, batch), from_packed(*states, packed, source)):
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        assert_gradients_close(got, gradient)


@pytest.mark.parametrize("mode", MODES)
def test_weights_are_those_of_the_aggregation(rows, mode):
    per_token = np.random.default_rng(4).normal(size=rows.tokens.mask.shape).astype(np.float32)
    weights = policy_weights(rows.tokens, mode=mode, scale=8).loss
    expected = losses.aggregate(jnp.asarray(per_token), jnp.asarray(rows.tokens.mask), mode=mode, scale=8)
    np.testing.assert_allclose(np.sum(weights * per_token), expected, rtol=1e-5)


@pytest.mark.parametrize("objective", ["clipped", "gspo"])
def test_objectives_see_states_and_tokens_and_not_where_those_lie_in_a_row(rows, states, objective):
    """The tokens of each response in any order, and for all but GSPO in any row."""
    hidden, head = states
    fused = PolicyObjective(algorithm_of(objective), NUMBERS, TEMPERATURE)
    order = np.random.default_rng(5).permutation(rows.tokens.mask.shape[1])
    moves = [lambda x: x[:, order]]
    if objective == "clipped":
        moves.append(lambda x: x.reshape(1, -1, *x.shape[2:]))
    expected = fused(hidden, head, rows.tokens, rows.weights)
    for move in moves:
        found = fused(move(hidden), head, *jax.tree.map(move, (rows.tokens, rows.weights)))
        np.testing.assert_allclose(found.total, expected.total, rtol=1e-5)
        assert found.metrics.to_dict() == pytest.approx(expected.metrics.to_dict(), rel=1e-5)
        assert found.tokens is not None and expected.tokens is not None
        chex.assert_trees_all_close(found.tokens, jax.tree.map(move, expected.tokens), atol=1e-5)


def test_the_reported_divergence_is_not_clipped_like_the_loss_term(rows, states):
    # d = 15 on each token: k3 is 14, as a loss term 10 with gradient 0.
    algorithm = AlgorithmSection(kl=KLSection(weight=0.2, estimator="k3"))
    objective = PolicyObjective(algorithm, NumberLoss(TABLE, "mse", 0.0), TEMPERATURE)
    log_probs = objective(*states, rows.tokens, rows.weights).tokens.log_probs
    tokens = rows.tokens._replace(reference_log_probs=np.asarray(log_probs) - np.float32(15.0))
    metrics = objective(*states, tokens, rows.weights).metrics.to_dict()
    np.testing.assert_allclose(metrics["actor/kl_loss"], 14.0, rtol=1e-5)
    assert KL_ESTIMATORS.keys() == KL_STATISTICS.keys()


@pytest.mark.parametrize("objective", ["clipped", "gspo"])
def test_loss_and_metrics_equal_those_of_a_head_without_padding_rows(rows, states, objective):
    targets = rows.tokens.targets._replace(ids=rows.tokens.targets.ids % 18)
    tokens, (hidden, head) = rows.tokens._replace(targets=targets), states

    def result(head, num_tokens):
        fused = PolicyObjective(algorithm_of(objective), NUMBERS, TEMPERATURE, num_tokens)

        def loss(hidden, head):
            found = fused(hidden, head, tokens, rows.weights)
            return found.total, found.metrics

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(hidden, head)

    (loss, metrics), (d_hidden, d_head) = result(head, 18)
    (expected, expected_metrics), expected_gradients = result(head[:, :18], None)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert_gradients_close((d_hidden, d_head[:, :18]), expected_gradients)
    assert not jnp.any(d_head[:, 18:])
    assert metrics.to_dict() == pytest.approx(expected_metrics.to_dict(), rel=1e-5, abs=1e-6)
    assert metrics.to_dict()["actor/ntl_loss"] > 0


def test_metrics_have_verls_names_and_appear_with_what_they_measure(rows, states):
    names = {"actor/pg_loss", "actor/ppo_kl", "actor/entropy", "actor/ratio_deviation"}

    def metrics(algorithm, number_loss=NUMBERS, weights=rows.weights):
        found = PolicyObjective(algorithm, number_loss, TEMPERATURE)(*states, rows.tokens, weights).metrics
        return found.means.keys() | found.maxima.keys()

    without = rows.weights._replace(reference=None)
    every = names | {"actor/pg_clipfrac", "actor/kl_loss", "actor/ntl_loss"}
    assert metrics(algorithm_of("clipped")) == every
    assert metrics(algorithm_of("sapo")) == every - {"actor/pg_clipfrac"}
    assert metrics(algorithm_of("clipped"), weights=without) == every - {"actor/kl_loss"}
    assert metrics(algorithm_of("clipped"), NumberLoss(TABLE, "mse", 0.0)) == every - {"actor/ntl_loss"}


def test_a_number_term_of_weight_0_is_not_in_the_program(rows, states):
    """Neither are the log-probs of the number tokens, which it alone needs."""
    assert NumberLoss(TABLE, "mse", 0.0).ids.shape == (0,)
    algorithm = algorithm_of("clipped")
    hidden, head = states

    def total(number_loss: NumberLoss, weights) -> float:
        return PolicyObjective(algorithm, number_loss, TEMPERATURE)(hidden, head, rows.tokens, weights).total.item()

    nothing = rows.weights._replace(numbers=np.zeros_like(rows.weights.numbers))
    assert total(NumberLoss(TABLE, "mse", 0.0), rows.weights) == pytest.approx(total(NUMBERS, nothing), rel=1e-6)


@pytest.mark.parametrize("method", ["mse", "wasserstein"])
def test_the_supervised_loss_is_cross_entropy_plus_the_weighed_number_loss(rows, states, method):
    (hidden, head), targets = states, rows.tokens.targets
    weights, number_loss = supervised_weights(targets), NumberLoss(TABLE, method, 0.3)
    mask, has_number = jnp.asarray(targets.mask), jnp.asarray(targets.mask & ~np.isnan(targets.numbers))

    def plain(hidden, head):
        stats = vocab_head_dense(hidden, head, jnp.asarray(targets.ids), TABLE.ids)
        of_numbers = LOSSES[method](stats.number_log_probs, jnp.asarray(targets.numbers), TABLE.values)
        cross_entropy = jnp.sum(jnp.where(mask, -stats.log_probs, 0.0)) / jnp.sum(mask)
        return cross_entropy + 0.3 * jnp.sum(jnp.where(has_number, of_numbers, 0.0)) / jnp.sum(has_number)

    def fused(hidden, head):
        found = supervised_objective(hidden, head, targets, weights, number_loss)
        return found.total, found.metrics

    expected, gradient = jax.jit(jax.value_and_grad(plain, argnums=(0, 1)))(hidden, head)
    (value, metrics), got = jax.jit(jax.value_and_grad(fused, argnums=(0, 1), has_aux=True))(hidden, head)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert_gradients_close(got, gradient)
    found = metrics.to_dict()
    total = found["warm_start/cross_entropy"] + 0.3 * found["warm_start/ntl_loss"]
    assert total == pytest.approx(float(expected), rel=1e-5)


def test_the_critics_loss_is_the_clipped_squared_error_of_what_counts_by_hand(rows):
    """Errors of 2, clipped to 1.5 of 2 where the value moved 1 of at most 0.5 towards the return: 0.5 * 1.5^2."""
    mask = rows.tokens.mask
    old, returns = np.zeros(mask.shape, np.float32), np.where(mask, 2.0, np.nan).astype(np.float32)
    tokens = rows.tokens._replace(values=Values(old, returns))
    algorithm = AlgorithmSection(advantage="gae", value_clip=0.5, value_weight=0.25)
    values = jnp.where(jnp.asarray(mask), 1.0, jnp.inf)
    found = value_objective(values, tokens, rows.weights, algorithm)
    assert found.total.item() == pytest.approx(0.25 * 0.5 * 1.5**2, rel=1e-6)
    assert found.metrics.to_dict() == {"critic/vf_loss": pytest.approx(0.5 * 1.5**2)}
    gradient = jax.grad(lambda v: value_objective(v, tokens, rows.weights, algorithm).total)(values)
    chex.assert_tree_all_finite(gradient)
    assert not jnp.any(gradient)  # the value has moved far enough


def assert_gradients_close(a: Any, b: Any) -> None:
    """Two gradients differ by at most 1e-6 in relative norm."""
    difference, size = (np.sqrt(sum(np.sum(np.square(x)) for x in xs)) for xs in ([a[0] - b[0], a[1] - b[1]], b))
    assert difference <= 1e-6 * size
