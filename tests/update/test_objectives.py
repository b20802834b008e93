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
from ntl_jax.ops import HeadStats, vocab_head_dense
from ntl_jax.records import Batch, Experience, Values
from ntl_jax.rows.packing import pack
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import response_segments
from ntl_jax.update.objectives import NumberLoss, PolicyObjective, supervised_objective, value_objective
from ntl_jax.update.token_weights import policy_weights, supervised_weights

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
ALONE = np.ones((4, 8), np.int32)
"""Segments of unpacked rows: one response each."""
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
    rng = np.random.default_rng(1)
    hidden, head = rng.normal(size=(*rows.tokens.mask.shape, WIDTH)), 0.3 * rng.normal(size=(WIDTH, VOCAB))
    return hidden.astype(np.float32), head.astype(np.float32)


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
def fused():
    """Loss, with metrics and tokens, and its gradient, by objective; one program for all weights."""

    def make(objective: str, num_tokens: int | None = None):
        of_update = PolicyObjective(algorithm_of(objective), NUMBERS, TEMPERATURE, num_tokens)

        def loss(hidden, head, tokens, weights, segments):
            found = of_update(hidden, head, tokens, weights, segments)
            return found.total, found

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

    return functools.cache(make)


@pytest.fixture(scope="module")
def plain():
    """The loss from logits in memory and its gradient, by objective."""

    def make(objective: str):
        return jax.jit(jax.value_and_grad(functools.partial(plain_loss, objective), argnums=(0, 1)))

    return functools.cache(make)


@pytest.mark.parametrize(
    ("objective", "mode"),
    [("clipped", mode) for mode in MODES] + [(name, "seq-mean-token-mean") for name in PLAIN if name != "clipped"],
)
def test_loss_and_gradient_are_those_of_the_plain_formula_packed_or_not(rows, states, fused, plain, objective, mode):
    batch = rows._replace(weights=policy_weights(rows.tokens, mode=mode, scale=8, reference_weight=0.2))
    packed, of_objective = pack(batch), fused(objective)
    assert len(packed.tokens.mask) < len(batch.tokens.mask)
    # Where a token of a packed row comes from: pack the tokens' numbers in the place of log-probs.
    numbered = np.arange(batch.tokens.mask.size, dtype=np.int32).reshape(batch.tokens.mask.shape)
    source = pack(batch._replace(tokens=batch.tokens._replace(old_log_probs=numbered))).tokens.old_log_probs

    expected, gradient = plain(objective)(*states, batch)
    (value, _), got = of_objective(*states, batch.tokens, batch.weights, ALONE)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert_gradients_close(got, gradient)

    # Rows of zeros make the packed rows as many as the others, which the same program serves.
    packed, source = jax.tree.map(lambda x: np.pad(x, [(0, len(batch.tokens.mask) - len(x)), (0, 0)]), (packed, source))
    hidden, head = states
    moved, segments = hidden.reshape(-1, WIDTH)[source], response_segments(packed.rows)
    (value, _), (d_moved, d_head) = of_objective(moved, head, packed.tokens, packed.weights, segments)
    d_hidden = np.zeros((hidden[..., 0].size, WIDTH), np.float32)
    np.add.at(d_hidden, source, d_moved)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert_gradients_close((d_hidden.reshape(hidden.shape), d_head), gradient)


@pytest.mark.parametrize("mode", MODES)
def test_weights_are_those_of_the_aggregation(rows, mode):
    per_token = np.random.default_rng(4).normal(size=rows.tokens.mask.shape).astype(np.float32)
    weights = policy_weights(rows.tokens, mode=mode, scale=8).loss
    expected = losses.aggregate(jnp.asarray(per_token), jnp.asarray(rows.tokens.mask), mode=mode, scale=8)
    np.testing.assert_allclose(np.sum(weights * per_token), expected, rtol=1e-5)


@pytest.mark.parametrize("objective", ["clipped", "gspo"])
def test_objectives_see_states_and_tokens_and_not_where_those_lie_in_a_row(rows, states, fused, objective):
    """The tokens of each response in any order, and for all but GSPO in any row."""
    hidden, head = states
    (_, expected), _ = fused(objective)(hidden, head, rows.tokens, rows.weights, ALONE)
    rng, (num_rows, size) = np.random.default_rng(5), rows.tokens.mask.shape
    everywhere, within = rng.permutation(num_rows * size), rng.permutation(size)
    moves = [lambda x: x[:, within]]
    if objective == "clipped":
        moves.append(lambda x: x.reshape(num_rows * size, *x.shape[2:])[everywhere].reshape(x.shape))
    for move in moves:
        (_, found), _ = fused(objective)(move(hidden), head, *jax.tree.map(move, (rows.tokens, rows.weights, ALONE)))
        np.testing.assert_allclose(found.total, expected.total, rtol=1e-5)
        assert found.metrics.to_dict() == pytest.approx(expected.metrics.to_dict(), rel=1e-5)
        chex.assert_trees_all_close(found.tokens, jax.tree.map(move, expected.tokens), atol=1e-5)


def test_the_reported_divergence_is_not_clipped_like_the_loss_term(rows, states, fused):
    # d = 15 on each token: k3 is 14, as a loss term 10 with gradient 0.
    algorithm = algorithm_of("clipped", kl=KLSection(weight=0.2, estimator="k3"), entropy_weight=0.0)
    objective: Any = PolicyObjective(algorithm, NumberLoss(TABLE, "mse", 0.0), TEMPERATURE).__call__
    log_probs = fused("clipped")(*states, rows.tokens, rows.weights, ALONE)[0][1].tokens.log_probs
    tokens = rows.tokens._replace(reference_log_probs=np.asarray(log_probs) - np.float32(15.0))
    found = jax.jit(objective)(*states, tokens, rows.weights)
    metrics = found.metrics.to_dict()
    np.testing.assert_allclose(metrics["actor/kl_loss"], 14.0, rtol=1e-5)
    surrogate = np.sum(rows.weights.loss) * metrics["actor/pg_loss"]
    np.testing.assert_allclose(found.total - surrogate, 10.0 * np.sum(rows.weights.reference), rtol=1e-5)
    assert KL_ESTIMATORS.keys() == KL_STATISTICS.keys()


def test_loss_and_metrics_equal_those_of_a_head_without_padding_rows(rows, states, fused):
    """With GSPO, which walks through the head twice: without a gradient, and as every objective."""
    targets = rows.tokens.targets._replace(ids=rows.tokens.targets.ids % 18)
    tokens, (hidden, head) = rows.tokens._replace(targets=targets), states
    (loss, found), (d_hidden, d_head) = fused("gspo", 18)(hidden, head, tokens, rows.weights, ALONE)
    (expected, alone), expected_gradients = fused("gspo")(hidden, head[:, :18], tokens, rows.weights, ALONE)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert_gradients_close((d_hidden, d_head[:, :18]), expected_gradients)
    assert not jnp.any(d_head[:, 18:])
    assert found.metrics.to_dict() == pytest.approx(alone.metrics.to_dict(), rel=1e-5, abs=1e-6)
    assert found.metrics.to_dict()["actor/ntl_loss"] > 0


def test_metrics_have_verls_names_and_appear_with_what_they_measure(rows, states):
    hidden, head = states

    def names(algorithm, number_loss=NUMBERS, weights=rows.weights):
        objective: Any = PolicyObjective(algorithm, number_loss, TEMPERATURE).__call__
        found = jax.eval_shape(objective, hidden, head, rows.tokens, weights).metrics
        return found.means.keys() | found.maxima.keys()

    every = {"actor/pg_loss", "actor/ppo_kl", "actor/entropy", "actor/ratio_deviation", "actor/pg_clipfrac"}
    every |= {"actor/kl_loss", "actor/ntl_loss"}
    assert names(algorithm_of("clipped")) == every
    assert names(algorithm_of("sapo")) == every - {"actor/pg_clipfrac"}
    assert names(algorithm_of("clipped"), weights=rows.weights._replace(reference=None)) == every - {"actor/kl_loss"}
    assert names(algorithm_of("clipped"), NumberLoss(TABLE, "mse", 0.0)) == every - {"actor/ntl_loss"}


def test_a_number_term_of_weight_0_is_not_in_the_program(rows):
    """Neither are the log-probs of the number tokens, which it alone needs."""
    nothing = NumberLoss(TABLE, "mse", 0.0)
    unknown = jnp.full(rows.tokens.mask.shape, jnp.nan)
    stats = HeadStats(unknown, unknown, unknown, jnp.zeros((*unknown.shape, 0)))
    assert nothing.ids.shape == (0,) and NUMBERS.ids.shape == (10,)
    assert nothing.weighed(stats, rows.tokens.targets, rows.weights) == 0.0
    assert nothing.metrics(stats, rows.tokens.targets, "actor") == {}


def test_the_supervised_loss_is_cross_entropy_plus_the_weighed_number_loss(rows, states):
    (hidden, head), targets = states, rows.tokens.targets
    weights, number_loss = supervised_weights(targets), NumberLoss(TABLE, "mse", 0.3)
    mask, has_number = jnp.asarray(targets.mask), jnp.asarray(targets.mask & ~np.isnan(targets.numbers))

    def plain(hidden, head):
        stats = vocab_head_dense(hidden, head, jnp.asarray(targets.ids), TABLE.ids)
        of_numbers = LOSSES["mse"](stats.number_log_probs, jnp.asarray(targets.numbers), TABLE.values)
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


@pytest.mark.parametrize("method", ["mse", "wasserstein"])
def test_the_number_loss_of_a_token_is_that_of_the_method_on_its_digits(rows, method):
    targets, number_loss = rows.tokens.targets, NumberLoss(TABLE, method, 0.3)
    log_probs = np.log(np.random.default_rng(6).dirichlet(np.ones(10), targets.mask.shape)).astype(np.float32)
    unknown = jnp.full(targets.mask.shape, jnp.nan)
    stats = HeadStats(unknown, unknown, unknown, jnp.asarray(log_probs))
    has_number = targets.mask & ~np.isnan(targets.numbers)
    found = np.asarray(number_loss.per_token(stats, targets))[has_number]
    distances = np.arange(10) - targets.numbers[has_number][:, None]
    probs = np.exp(log_probs[has_number])
    by_method = {
        "mse": np.sum(probs * distances, axis=1) ** 2,
        "wasserstein": np.sum(probs * np.abs(distances), axis=1),
    }
    np.testing.assert_allclose(found, by_method[method], rtol=1e-4)
    weighed = np.asarray(number_loss.weighed(stats, targets, rows.weights))
    np.testing.assert_allclose(weighed[has_number], 0.3 * rows.weights.numbers[has_number] * found, rtol=1e-5)
    assert not weighed[~has_number].any()


@pytest.mark.parametrize("method", ["raft", "dist2", "gaussian", "smmd", "del"])
def test_other_number_losses_go_through_the_head_with_the_gradient_of_the_plain_formula(rows, states, method):
    (hidden, head), targets = states, rows.tokens.targets
    weights, number_loss = supervised_weights(targets), NumberLoss(TABLE, method, 0.3)
    has_number = jnp.asarray(targets.has_number)

    def plain(hidden, head):
        logits = hidden @ head
        log_probs = logits if method == "del" else jax.nn.log_softmax(logits)
        of_numbers = LOSSES[method](log_probs[..., TABLE.ids], jnp.asarray(targets.numbers), TABLE.values)
        return 0.3 * jnp.sum(jnp.where(has_number, of_numbers, 0.0)) / jnp.sum(has_number)

    def fused(hidden, head):
        found = supervised_objective(hidden, head, targets, weights._replace(loss=0 * weights.loss), number_loss)
        return found.total

    expected, gradient = jax.jit(jax.value_and_grad(plain, argnums=(0, 1)))(hidden, head)
    value, got = jax.jit(jax.value_and_grad(fused, argnums=(0, 1)))(hidden, head)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert_gradients_close(got, gradient)


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
    gradient = jax.jit(jax.grad(lambda v: value_objective(v, tokens, rows.weights, algorithm).total))(values)
    chex.assert_tree_all_finite(gradient)
    assert not jnp.any(gradient)  # the value has moved far enough


def assert_gradients_close(a: Any, b: Any) -> None:
    """Two gradients differ by at most 1e-6 in relative norm."""
    difference, size = (np.sqrt(sum(np.sum(np.square(x)) for x in xs)) for xs in ([a[0] - b[0], a[1] - b[1]], b))
    assert difference <= 1e-6 * size
