# SPDX-License-Identifier: Apache-2.0
"""Claims about the vocabulary head: chunked equals dense, in value and gradient, on one device and on eight."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from ntl_jax.ops import HeadStats, Spread, vocab_head, vocab_head_dense, vocab_head_loss

D, V, M = 8, 32, 5
NUMBER_IDS = jnp.array([3, 17, 4, 30, 4], jnp.int32)  # one of them twice
# Chunks that divide the rows, that are evened out, that leave a remainder, and one chunk for all.
NUM_TOKENS = 27  # the ids from here to V are padding
CHUNKINGS = [((4, 8), 4), ((4, 8), 5), ((13,), 5), ((13,), 32)]


def problem(shape, dtype=jnp.float32, seed=0):
    """Hidden states, head and targets, two of which lie outside the vocabulary."""
    keys = jax.random.split(jax.random.key(seed), 3)
    hidden = jax.random.normal(keys[0], (*shape, D)).astype(dtype)
    head = jax.random.normal(keys[1], (D, V)).astype(dtype)
    targets = jax.random.randint(keys[2], shape, 0, V)
    return hidden, head, targets.at[(0,) * len(shape)].set(-100).at[(-1,) * len(shape)].set(V)


def weigh(stats: HeadStats, weights=None):
    """A per-token loss in which every statistic has its own coefficient."""
    number_weights = jnp.broadcast_to(jnp.arange(1.0, M + 1), stats.number_log_probs.shape)
    losses = (
        -1.3 * stats.log_probs
        + 0.7 * stats.entropy**2
        + 0.2 * stats.log_normalizer
        + 0.1 * jnp.sum(number_weights * jnp.exp(stats.number_log_probs), axis=-1)
    )
    return losses if weights is None else losses * weights


def gradients_of(op):
    """Jitted ((sum of the loss, stats), (gradient in hidden, gradient in head)) of an op like `vocab_head`."""

    def loss(hidden, head, targets, temperature):
        stats = op(hidden, head, targets, NUMBER_IDS, temperature=temperature)
        return jnp.sum(weigh(stats)), stats

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


def assert_trees_close(actual, expected, rtol=1e-5, atol=2e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), actual, expected)


@functools.cache
def dense_result(shape):
    return gradients_of(vocab_head_dense)(*problem(shape), 0.7)


@pytest.mark.parametrize(("shape", "chunk_size"), CHUNKINGS)
def test_chunked_equals_dense_in_value_and_gradient(shape, chunk_size):
    chunked = gradients_of(functools.partial(vocab_head, chunk_size=chunk_size))
    assert_trees_close(chunked(*problem(shape), 0.7), dense_result(shape))


def per_token(stats, inputs):
    return weigh(stats) / inputs["divisors"]  # infinite, and so its gradient, where rows are padded with zeros


@pytest.mark.parametrize(("shape", "chunk_size"), CHUNKINGS)
def test_the_gradient_taken_in_the_forward_pass_equals_the_dense_one(shape, chunk_size):
    hidden, head, targets = problem(shape)
    inputs = {"divisors": jnp.linspace(0.5, 2.0, targets.size).reshape(shape)}

    def fused(hidden, head):
        return vocab_head_loss(
            per_token, hidden, head, targets, NUMBER_IDS, inputs, temperature=0.7, chunk_size=chunk_size
        )

    def dense(hidden, head):
        stats = vocab_head_dense(hidden, head, targets, NUMBER_IDS, temperature=0.7)
        return jnp.sum(per_token(stats, inputs)), stats

    actual = jax.jit(jax.value_and_grad(fused, argnums=(0, 1), has_aux=True))(hidden, head)
    expected = jax.value_and_grad(dense, argnums=(0, 1), has_aux=True)(hidden, head)
    assert_trees_close(actual, expected)
    assert_trees_close(fused(hidden, head), expected[0])  # without differentiation


def test_the_loss_scales_its_gradient_and_gives_none_to_stats_and_inputs():
    hidden, head, targets = problem((13,))
    run = functools.partial(vocab_head_loss, weigh, head=head, targets=targets, number_ids=NUMBER_IDS, chunk_size=5)
    gradient = jax.grad(lambda hidden: run(hidden=hidden, inputs=jnp.ones(13))[0])(hidden)
    tripled = jax.grad(lambda hidden: 3 * run(hidden=hidden, inputs=jnp.ones(13))[0])(hidden)
    np.testing.assert_allclose(tripled, 3 * gradient, rtol=1e-6)
    assert not jnp.any(jax.grad(lambda hidden: run(hidden=hidden, inputs=jnp.ones(13))[1].entropy.sum())(hidden))
    assert not jnp.any(jax.grad(lambda weights: run(hidden=hidden, inputs=weights)[0])(jnp.ones(13)))


FORMS = {
    "dense": vocab_head_dense,
    "one chunk": vocab_head,
    "chunked": functools.partial(vocab_head, chunk_size=5),
    "fused": None,
}


def loss_and_gradients(form, hidden, head, targets, number_ids, num_tokens=None):
    """((summed loss, stats), gradients in hidden and head) at temperature 0.7."""

    def loss(hidden, head):
        settings: dict[str, Any] = {"temperature": 0.7, "num_tokens": num_tokens}
        if form == "fused":
            return vocab_head_loss(
                weigh, hidden, head, targets, number_ids, jnp.ones(targets.shape), chunk_size=5, **settings
            )
        stats = FORMS[form](hidden, head, targets, number_ids, **settings)
        return jnp.sum(weigh(stats)), stats

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(hidden, head)


@pytest.mark.parametrize("form", FORMS)
def test_ids_past_num_tokens_change_nothing_and_have_no_gradient_for_any_logits(form):
    hidden, head, targets = problem((13,))
    targets, number_ids = jnp.where(targets < V, targets % NUM_TOKENS, targets), NUMBER_IDS % NUM_TOKENS
    likely = head.at[:, NUM_TOKENS:].set(100.0)
    actual, (d_hidden, d_head) = loss_and_gradients(form, hidden, likely, targets, number_ids, NUM_TOKENS)
    expected = loss_and_gradients("dense", hidden, head[:, :NUM_TOKENS], targets, number_ids)
    assert_trees_close((actual, (d_hidden, d_head[:, :NUM_TOKENS])), expected)
    assert not jnp.any(d_head[:, NUM_TOKENS:])


@pytest.mark.parametrize("form", FORMS)
def test_a_target_and_a_number_past_num_tokens_have_probability_zero_and_rows_without_gradient(form):
    hidden, head, targets = problem((13,))
    targets = (targets % NUM_TOKENS).at[:4].set(NUM_TOKENS + jnp.arange(4))
    (_, stats), gradients = loss_and_gradients(form, hidden, head, targets, NUMBER_IDS, NUM_TOKENS)
    assert not jnp.any(jnp.exp(stats.log_probs[:4])) and jnp.all(jnp.exp(stats.log_probs[4:]) > 0)
    assert jnp.array_equal(jnp.exp(stats.number_log_probs).sum(axis=0) == 0, NUMBER_IDS >= NUM_TOKENS)
    assert not jnp.any(gradients[1][:, NUM_TOKENS:])
    assert_trees_close(gradients, loss_and_gradients("dense", hidden, head, targets, NUMBER_IDS, NUM_TOKENS)[1])


def test_values_equal_float64():
    hidden, head, targets = problem((13,))
    logits = np.asarray(hidden, np.float64) @ np.asarray(head, np.float64) / 0.7
    log_normalizer = np.log(np.exp(logits).sum(axis=-1))
    log_probs = logits - log_normalizer[:, None]
    stats = vocab_head(hidden, head, targets, NUMBER_IDS, temperature=0.7, chunk_size=5)
    np.testing.assert_allclose(stats.log_normalizer, log_normalizer, rtol=1e-5)
    np.testing.assert_allclose(stats.entropy, -(np.exp(log_probs) * log_probs).sum(axis=-1), rtol=1e-5)
    np.testing.assert_allclose(stats.number_log_probs, log_probs[:, NUMBER_IDS], rtol=1e-5, atol=1e-6)
    inside = (targets >= 0) & (targets < V)
    expected = np.where(inside, log_probs[np.arange(13), np.where(inside, targets, 0)], 0)
    np.testing.assert_allclose(stats.log_probs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [5, 13])
def test_gradients_equal_finite_differences(chunk_size):
    hidden, head, targets = problem((13,))

    def loss(hidden, head):
        return jnp.mean(weigh(vocab_head(hidden, head, targets, NUMBER_IDS, chunk_size=chunk_size)))

    check_grads(loss, (hidden, head), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("chunk_size", [5, 13])
def test_targets_outside_the_vocabulary_have_log_prob_zero_and_no_gradient(chunk_size):
    hidden, head, targets = problem((13,))
    head_of = functools.partial(vocab_head, number_ids=NUMBER_IDS, chunk_size=chunk_size)
    log_probs = head_of(hidden, head, targets).log_probs
    gradient = jax.grad(lambda hidden: head_of(hidden, head, targets).log_probs.sum())(hidden)
    outside = (targets < 0) | (targets >= V)
    assert outside.sum() == 2
    assert jnp.array_equal(log_probs == 0, outside)
    assert jnp.array_equal(jnp.all(gradient == 0, axis=-1), outside)


@pytest.mark.parametrize("chunk_size", [5, 13])
def test_there_may_be_no_number_tokens(chunk_size):
    hidden, head, targets = problem((13,))
    stats = vocab_head(hidden, head, targets, jnp.zeros(0, jnp.int32), chunk_size=chunk_size)
    assert stats.number_log_probs.shape == (13, 0)
    gradient = jax.grad(lambda h: vocab_head(h, head, targets, NUMBER_IDS[:0], chunk_size=chunk_size)[1].sum())(hidden)
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("chunk_size", [5, 13])
def test_a_traced_temperature_equals_a_float_and_receives_no_gradient(chunk_size):
    hidden, head, targets = problem((13,))

    def entropy(temperature):
        stats = vocab_head(hidden, head, targets, NUMBER_IDS, temperature=temperature, chunk_size=chunk_size)
        return stats.entropy.sum()

    np.testing.assert_allclose(jax.jit(entropy)(0.5), entropy(0.5), rtol=1e-6)
    assert jax.grad(entropy)(0.5) == 0


def test_extreme_logits_stay_finite():
    hidden, head, targets = problem((13,))
    (loss, stats), gradients = gradients_of(functools.partial(vocab_head, chunk_size=5))(hidden * 1e4, head, targets, 1)
    assert all(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves((loss, stats, gradients)))
    np.testing.assert_allclose(stats.entropy, 0, atol=1e-3)


@pytest.mark.parametrize(
    ("dtypes", "chunk_size"),
    [((jnp.bfloat16, jnp.bfloat16), 5), ((jnp.bfloat16, jnp.float32), 5), ((jnp.bfloat16, jnp.bfloat16), 13)],
)
def test_bfloat16_inputs_give_float32_statistics_and_gradients_of_their_own_dtype(dtypes, chunk_size):
    hidden, head, targets = problem((13,))
    hidden, head = hidden.astype(dtypes[0]), head.astype(dtypes[1])
    (_, stats), gradients = gradients_of(functools.partial(vocab_head, chunk_size=chunk_size))(hidden, head, targets, 1)
    assert all(x.dtype == jnp.float32 for x in stats)
    assert tuple(g.dtype for g in gradients) == dtypes
    exact = gradients_of(vocab_head_dense)(hidden.astype(jnp.float32), head.astype(jnp.float32), targets, 1)
    assert_trees_close(stats, exact[0][1])  # products of bfloat16 numbers are exact in float32
    assert_trees_close(jax.tree.map(lambda g: g.astype(jnp.float32), gradients), exact[1], rtol=2e-2, atol=5e-2)


def test_bfloat16_inputs_give_the_fused_loss_in_float32_and_gradients_of_their_own_dtype():
    hidden, head, targets = problem((13,), jnp.bfloat16)

    def fused(hidden, head):
        return vocab_head_loss(weigh, hidden, head, targets, NUMBER_IDS, jnp.ones(13), chunk_size=5)

    (loss, stats), gradients = jax.jit(jax.value_and_grad(fused, argnums=(0, 1), has_aux=True))(hidden, head)
    assert all(x.dtype == jnp.float32 for x in (loss, *stats))
    assert all(g.dtype == jnp.bfloat16 for g in gradients)
    exact = gradients_of(vocab_head_dense)(hidden.astype(jnp.float32), head.astype(jnp.float32), targets, 1)
    assert_trees_close((loss, stats), exact[0])
    assert_trees_close(jax.tree.map(lambda g: g.astype(jnp.float32), gradients), exact[1], rtol=2e-2, atol=5e-2)


def test_a_transposed_embedding_serves_as_head():
    hidden, head, targets = problem((4, 8))
    embedding = head.T + 0

    def loss(embedding):
        return jnp.sum(weigh(vocab_head(hidden, embedding.T, targets, NUMBER_IDS, temperature=0.7, chunk_size=4)))

    np.testing.assert_allclose(jax.grad(loss)(embedding), dense_result((4, 8))[1][1].T, rtol=1e-5, atol=2e-5)


@pytest.mark.optimized
@pytest.mark.parametrize(("fused", "num_tokens"), [(False, None), (True, None), (False, 1000), (True, 1000)])
def test_the_logits_of_all_positions_never_exist(fused, num_tokens):
    num_rows, vocab_size = 256, 1024
    hidden, head = jnp.zeros((num_rows, D)), jnp.zeros((D, vocab_size))
    targets = jnp.zeros(num_rows, jnp.int32)

    def loss(hidden, head):
        settings: dict[str, Any] = {"num_tokens": num_tokens, "chunk_size": 16}
        if fused:
            return vocab_head_loss(weigh, hidden, head, targets, NUMBER_IDS, jnp.ones(num_rows), **settings)[0]
        return jnp.sum(weigh(vocab_head(hidden, head, targets, NUMBER_IDS, **settings)))

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(hidden, head).compile()
    memory = compiled.memory_analysis()
    assert memory is not None and memory.temp_size_in_bytes < num_rows * vocab_size * 4 / 2
    assert f"[{num_rows},{vocab_size}]" not in str(compiled.as_text())


@pytest.mark.optimized
@pytest.mark.parametrize(
    ("form", "mesh_shape", "num_tokens"),
    [
        ("chunked", (1, 8), None),
        ("chunked", (2, 4), NUM_TOKENS),
        ("fused", (1, 8), NUM_TOKENS),
        ("fused", (2, 4), None),
        ("fused", (8, 1), None),
        ("dense", (2, 4), None),
    ],
)
def test_a_head_sharded_over_the_vocabulary_gives_the_same_numbers_and_is_not_gathered(form, mesh_shape, num_tokens):
    mesh = jax.make_mesh(mesh_shape, ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)
    hidden, head, targets = problem((8, 4))
    settings: dict[str, Any] = {"num_tokens": num_tokens, "chunk_size": 16}

    def loss(hidden, head, targets):
        match form:
            case "fused":
                weights = jnp.ones(targets.shape)
                return vocab_head_loss(weigh, hidden, head, targets, NUMBER_IDS, weights, **settings)[0]
            case "chunked":
                return jnp.sum(weigh(vocab_head(hidden, head, targets, NUMBER_IDS, **settings)))
            case _:
                return jnp.sum(weigh(vocab_head_dense(hidden, head, targets, NUMBER_IDS)))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    specs = P("data"), P(None, "tensor"), P("data")
    sharded = jax.device_put((hidden, head, targets), tuple(NamedSharding(mesh, spec) for spec in specs))
    compiled = step.lower(*sharded).compile()
    assert not re.search(r"all-gather|all-to-all|collective-permute", str(compiled.as_text()))
    actual = compiled(*sharded)
    assert_trees_close(actual, step(hidden, head, targets))
    assert actual[1][1].sharding.is_equivalent_to(sharded[1].sharding, 2)


@pytest.mark.parametrize("num_ids", [V, V - 4], ids=["V divides", "V does not divide"])
@pytest.mark.parametrize("axes", [("data",), ("data", "rows"), ("rows",)], ids=str)
@pytest.mark.parametrize("fused", [False, True], ids=["vocab_head", "vocab_head_loss"])
def test_devices_that_sum_gradients_of_their_own_positions_give_the_same_numbers(fused, axes, num_ids):
    """Over positions whose chunks are cut evenly on no device; the loss closes over an array and over a traced one."""
    mesh = jax.make_mesh((2, 2, 2), ("data", "rows", "tensor"), axis_types=(AxisType.Auto,) * 3)
    spread = Spread(axes, "tensor", axes[-1])
    hidden, head, targets = problem((8, 5))
    head, number_ids = head[:, :num_ids], jnp.array([3, 17])
    weights = jax.random.uniform(jax.random.key(2), targets.shape)

    def loss(hidden, head, targets, scale, spread):
        def per_token(stats, weights):
            return weights * (scale * jnp.sum(stats.number_log_probs, axis=-1) - stats.log_probs + stats.entropy**2)

        how: dict[str, Any] = {"num_tokens": NUM_TOKENS, "chunk_size": 12, "spread": spread}
        if fused:
            return vocab_head_loss(per_token, hidden, head, targets, number_ids, weights, **how)
        stats = vocab_head(hidden, head, targets, number_ids, **how)
        return jnp.sum(per_token(stats, weights)), stats

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), static_argnums=4)
    expected = step(hidden, head, targets, 0.3, None)
    specs = P(axes), P(axes[-1], "tensor"), P(axes)
    sharded = jax.device_put((hidden, head, targets), tuple(NamedSharding(mesh, spec) for spec in specs))
    with jax.set_mesh(mesh):
        actual = step(*sharded, 0.3, spread)
    assert_trees_close(actual, expected)
    assert actual[1][1].sharding.is_equivalent_to(sharded[1].sharding, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": jnp.zeros((D + 1, V))}, r"do not fit: they are \[..., D\] and \[D, V\]"),
        ({"head": jnp.zeros(D)}, r"do not fit: they are \[..., D\] and \[D, V\]"),
        ({"targets": jnp.zeros(12, jnp.int32)}, r"targets \(12,\) must have the shape \(13,\) of the positions"),
        ({"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"chunk_size": 0}, "chunk_size=0 must be at least 1"),
        ({"num_tokens": 0}, r"num_tokens=0 must be in \[1, 32\]"),
        ({"num_tokens": V + 1}, r"num_tokens=33 must be in \[1, 32\]"),
    ],
)
def test_arguments_that_cannot_serve_are_refused_with_the_reason(changes, message):
    hidden, head, targets = problem((13,))
    arguments = {"hidden": hidden, "head": head, "targets": targets, "number_ids": NUMBER_IDS} | changes
    with pytest.raises(ValueError, match=message):
        vocab_head(**arguments)
    with pytest.raises(ValueError, match=message):
        vocab_head_loss(weigh, **arguments)
    if "chunk_size" not in changes:
        with pytest.raises(ValueError, match=message):
            vocab_head_dense(**arguments)
