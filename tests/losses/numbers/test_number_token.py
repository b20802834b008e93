# SPDX-License-Identifier: Apache-2.0
"""Claims about the number token losses: hand-computed values, float64, and exact zeros where nothing is labelled."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from ntl_jax.losses.numbers.mass import with_number_mass
from ntl_jax.losses.numbers.number_token import (
    number_token_huber,
    number_token_loss,
    number_token_mae,
    number_token_mse,
    number_token_wasserstein,
)
from ntl_jax.losses.numbers.place_weighted import digit_entropy
from ntl_jax.losses.numbers.regression_aware import number_token_raft, number_token_real
from ntl_jax.losses.numbers.soft_targets import number_token_dist2, number_token_gaussian
from ntl_jax.numerals.table import NumberTable

DIGITS = jnp.arange(10.0)
SQUASHED = functools.partial(number_token_wasserstein, squash=2.0)
LOSSES = [number_token_wasserstein, SQUASHED, number_token_mse, number_token_mae, number_token_huber]
LARGEST_ON_DIGITS = [9.0, 2.0, 81.0, 9.0, 8.5]
V = 30  # its last token is a number, so that a label beyond it must not be taken for that one
TABLE = NumberTable.from_vocab({str(d): 3 * d + 2 for d in range(10)} | {"Ġ7": 1, "Ġ0": 21}, vocab_size=V)


@pytest.fixture(autouse=True)
def strict_dtype_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def gpt2_values():
    """The values of GPT-2's 1,691 number tokens: uneven, repeated, up to 66,666,666."""
    facts = json.loads((pathlib.Path(__file__).parents[2] / "numerals" / "number_tokens.json").read_text())["gpt2"]
    vocab = dict(zip(facts["pieces"].split(" "), facts["ids"], strict=True))
    return NumberTable.from_vocab(vocab, "numbers", facts["vocab_size"]).values


def dense_float64(loss, number_logits, targets, values):
    """The defining formulas, in float64, position by position."""
    logits, targets, values = (np.asarray(x, np.float64) for x in (number_logits, targets, values))
    probs = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs /= probs.sum(axis=-1, keepdims=True)
    distances = np.abs(values - targets[:, None])
    error = (probs * values).sum(axis=-1) - targets
    steps = np.diff(np.unique(values))
    largest = np.ptp(values)
    match loss:
        case functools.partial():
            squashed = 1 + (distances - steps.min()) / (largest - steps.min())
            return (probs * np.where(distances > 0, squashed, 0)).sum(axis=-1), 2.0
        case _ if loss is number_token_wasserstein:
            return (probs * distances).sum(axis=-1), largest
        case _ if loss is number_token_mse:
            return error**2, largest**2
        case _ if loss is number_token_mae:
            return np.abs(error), largest
        case _:
            return np.where(np.abs(error) <= 1, error**2 / 2, np.abs(error) - 0.5), largest - 0.5


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (number_token_wasserstein, [4.5, 3.7, 3.1, 2.7, 2.5]),
        (number_token_mse, [20.25, 12.25, 6.25, 2.25, 0.25]),
        (number_token_mae, [4.5, 3.5, 2.5, 1.5, 0.5]),
        (number_token_huber, [4, 3, 2, 1, 0.125]),
        (SQUASHED, [1.35, 1.25, 1.175, 1.125, 1.1]),
    ],
)
def test_a_uniform_distribution_has_the_values_computed_by_hand(loss, expected):
    both_ends = jnp.array([0.0, 1, 2, 3, 4, 9, 8, 7, 6, 5])
    np.testing.assert_allclose(loss(jnp.zeros((10, 10)), both_ends, DIGITS), expected * 2, rtol=1e-6)


def test_a_one_hot_distribution_costs_the_distance_or_its_square():
    predicted, target = (x.reshape(-1) for x in jnp.meshgrid(DIGITS, DIGITS))
    logits = jnp.where(predicted[:, None] == DIGITS[None, :], 0.0, -jnp.inf)
    distance = jnp.abs(predicted - target)
    np.testing.assert_allclose(number_token_wasserstein(logits, target, DIGITS), distance)
    np.testing.assert_allclose(number_token_mse(logits, target, DIGITS), distance**2)
    np.testing.assert_allclose(number_token_mae(logits, target, DIGITS), distance)


def test_squashing_with_nine_is_the_identity_on_digits():
    logits = jax.random.normal(jax.random.key(0), (10, 10)) * 3
    squashed = number_token_wasserstein(logits, DIGITS, DIGITS, squash=9.0)
    np.testing.assert_allclose(squashed, number_token_wasserstein(logits, DIGITS, DIGITS), rtol=1e-6)


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0], [3.0, 8.0]])
def test_squashing_is_defined_where_all_gaps_are_equal(values):
    values = jnp.array(values)
    loss, gradient = jax.value_and_grad(lambda z: jnp.sum(SQUASHED(z, values[:1], values)))(jnp.zeros((1, values.size)))
    assert loss == (0.5 if values.size == 2 and values[1] == 8 else 0)
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("table", ["digits", "gpt2"])
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_values_equal_float64_to_one_part_in_a_million_of_loss_and_range(loss, table, spread):
    values = DIGITS if table == "digits" else gpt2_values()
    keys = jax.random.split(jax.random.key(0), 2)
    logits = jax.random.normal(keys[0], (64, values.size)) * spread
    targets = values[jax.random.randint(keys[1], (64,), 0, values.size)]
    expected, largest = dense_float64(loss, logits, targets, values)
    np.testing.assert_allclose(loss(logits, targets, values), expected, rtol=1e-6, atol=1e-6 * largest)


@pytest.mark.parametrize("loss", LOSSES)
def test_bfloat16_logits_give_the_float32_loss_of_the_same_numbers(loss):
    logits = (jax.random.normal(jax.random.key(0), (10, 10)) * 30).astype(jnp.bfloat16)
    actual = loss(logits, DIGITS.astype(jnp.bfloat16), DIGITS)
    assert actual.dtype == jnp.float32
    assert jnp.array_equal(actual, loss(logits.astype(jnp.float32), DIGITS, DIGITS))
    assert jnp.all(jnp.isfinite(actual))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf, jnp.inf])
def test_an_undefined_position_is_zero_with_zero_gradient_whatever_its_logits(loss, poison):
    logits = jax.random.normal(jax.random.key(0), (4, 10)).at[::2].set(poison)
    targets = jnp.array([jnp.nan, 3.0, jnp.nan, 7.0])
    value, gradient = jax.vmap(jax.value_and_grad(loss), (0, 0, None))(logits, targets, DIGITS)
    assert not jnp.any(value[::2])
    assert not jnp.any(gradient[::2])
    assert jnp.all(jnp.isfinite(gradient)) and jnp.all(jnp.any(gradient[1::2] != 0, axis=-1))


@pytest.mark.parametrize(("loss", "largest"), list(zip(LOSSES, LARGEST_ON_DIGITS, strict=True)))
def test_a_labelled_position_without_any_possible_number_costs_the_most_with_zero_gradient(loss, largest):
    value, gradient = jax.value_and_grad(loss)(jnp.full(10, -jnp.inf), jnp.float32(4.0), DIGITS)
    assert value == largest
    assert not jnp.any(gradient)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_impossible_number_among_possible_ones_leaves_value_and_gradient_finite(loss):
    value, gradient = jax.value_and_grad(loss)(jnp.zeros(10).at[3].set(-jnp.inf), jnp.float32(4.0), DIGITS)
    assert jnp.isfinite(value)
    assert jnp.all(jnp.isfinite(gradient))
    assert gradient[3] == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_the_table_changes_nothing(loss):
    values = gpt2_values()[::40]
    logits = jax.random.normal(jax.random.key(0), (8, values.size))
    targets = values[:8]
    order = jax.random.permutation(jax.random.key(1), values.size)
    permuted = loss(logits[:, order], targets, values[order])
    np.testing.assert_allclose(permuted, loss(logits, targets, values), rtol=2e-6, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_equal_finite_differences(loss):
    logits = jax.random.normal(jax.random.key(0), (4, 10))
    targets = jnp.array([0.0, 3.0, jnp.nan, 9.0])
    check_grads(lambda z: loss(z, targets, DIGITS), (logits,), order=1, atol=1e-2, rtol=1e-2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=10, max_size=10), st.integers(0, 9))
def test_the_expected_distance_lies_between_the_error_of_the_expectation_and_the_range(logits, target):
    arguments = jnp.array(logits, jnp.float32), jnp.float32(target), DIGITS
    distance = float(number_token_wasserstein(*arguments))
    assert float(number_token_mae(*arguments)) - 1e-5 <= distance <= 9 + 1e-5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: number_token_mse(jnp.zeros((2, 9)), jnp.zeros(2), DIGITS), r"must end in one entry for each.*\(10,\)"),
        (
            lambda: number_token_mse(jnp.zeros((2, 10)), jnp.zeros(3), DIGITS),
            r"targets \(3,\) must have the shape \(2,\)",
        ),
        (lambda: number_token_wasserstein(jnp.zeros(10), DIGITS[0], DIGITS, squash=1.0), "squash=1.0 must be above 1"),
        (lambda: number_token_huber(jnp.zeros(10), DIGITS[0], DIGITS, delta=0.0), "delta=0.0 must be above 0"),
        (lambda: with_number_mass(jnp.zeros((2, 1)), jnp.zeros(2), 9.0), r"loss \(2, 1\) and number_log_mass \(2,\)"),
        (lambda: number_token_loss(jnp.zeros((2, 31)), jnp.zeros(2, int), TABLE), "build it with vocab_size=31"),
        (lambda: number_token_loss(jnp.zeros((2, V)), jnp.zeros(2, int), TABLE, where=jnp.ones(2)), "where is float32"),
    ],
)
def test_arguments_that_cannot_serve_are_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def batch(num_rows=8, seed=0):
    """Logits [num_rows, 6, V] and labels, about half of them number tokens, some outside the vocabulary."""
    keys = jax.random.split(jax.random.key(seed), 3)
    labels = jax.random.randint(keys[0], (num_rows, 6), -4, V + 4)
    numbers = TABLE.ids[jax.random.randint(keys[1], labels.shape, 0, TABLE.ids.size)]
    labels = jnp.where(jnp.arange(6)[None, :] % 2 == 0, numbers, labels)
    return jax.random.normal(keys[2], (num_rows, 6, V)) * 2, labels


def dense_mass_float64(logits, labels):
    """NTL-WAS with its mass term at labelled positions, in float64."""
    logits, ids, values = np.asarray(logits, np.float64), np.asarray(TABLE.ids), np.asarray(TABLE.values, np.float64)
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    numbers, mass = probs[..., ids], probs[..., ids].sum(axis=-1)
    inside = (labels >= 0) & (labels < V)
    targets = np.where(inside, np.asarray(TABLE.token_values)[np.where(inside, labels, 0)], np.nan)
    loss = (numbers * np.abs(values - targets[..., None])).sum(axis=-1) + 1.01 * 9 * (1 - mass)
    return np.nan_to_num(loss)


def test_the_mass_term_has_the_values_computed_by_hand():
    table = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=40)
    for loss, expected in [(number_token_wasserstein, 7.9425), (number_token_mse, 66.42)]:
        actual = number_token_loss(jnp.zeros((1, 40)), jnp.array([0]), table, loss=loss, mass_term=True)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_the_mass_term_equals_float64():
    logits, labels = batch()
    actual = number_token_loss(logits, labels, TABLE, mass_term=True)
    np.testing.assert_allclose(actual, dense_mass_float64(logits, np.asarray(labels)), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("mass_term", [False, True])
def test_bfloat16_logits_of_a_vocabulary_give_the_float32_loss_of_the_same_numbers(mass_term):
    logits, labels = batch()
    narrow = (logits * 10).astype(jnp.bfloat16)
    actual = number_token_loss(narrow, labels, TABLE, mass_term=mass_term)
    assert actual.dtype == jnp.float32
    assert jnp.array_equal(actual, number_token_loss(narrow.astype(jnp.float32), labels, TABLE, mass_term=mass_term))


def test_the_mass_term_vanishes_where_all_mass_is_on_numbers_without_rounding():
    loss = with_number_mass(jnp.array([2.0, 0.0]), jnp.array([0.0, -1e-6]), 9.0)
    np.testing.assert_allclose(loss, [2.0, 1.01 * 9 * 1e-6], rtol=1e-6)


def test_a_given_largest_loss_replaces_the_default():
    logits, labels = batch()
    default = number_token_loss(logits, labels, TABLE, mass_term=True)
    assert jnp.array_equal(number_token_loss(logits, labels, TABLE, mass_term=True, max_loss=9.0), default)
    assert jnp.any(number_token_loss(logits, labels, TABLE, mass_term=True, max_loss=20.0) > default)


@pytest.mark.parametrize("mass_term", [False, True])
def test_labels_that_are_no_number_or_outside_the_vocabulary_are_worth_zero(mass_term):
    logits, labels = batch()
    loss, gradient = jax.value_and_grad(lambda z: _per_row(z, labels, mass_term).sum())(logits)
    per_position = number_token_loss(logits, labels, TABLE, mass_term=mass_term)
    is_number = jnp.isin(labels, TABLE.ids)
    assert jnp.array_equal(per_position > 0, is_number)
    assert jnp.array_equal(jnp.any(gradient != 0, axis=-1), is_number)
    assert loss > 0


def _per_row(logits, labels, mass_term, where=None):
    return number_token_loss(logits, labels, TABLE, where=where, mass_term=mass_term).sum(axis=-1)


@pytest.mark.parametrize("mass_term", [False, True])
@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf, jnp.inf])
def test_masked_and_unlabelled_positions_equal_dropped_ones_whatever_their_logits(mass_term, poison):
    logits, labels = batch()
    where = jnp.arange(8)[:, None] + jnp.arange(6)[None, :] > 4
    counts = where & jnp.isin(labels, TABLE.ids)
    poisoned = jnp.where(counts[..., None], logits, poison)
    loss, gradient = jax.value_and_grad(lambda z: _per_row(z, labels, mass_term, where).sum())(poisoned)
    kept = jax.value_and_grad(lambda z: number_token_loss(z, labels[counts], TABLE, mass_term=mass_term).sum())
    kept_loss, kept_gradient = kept(logits[counts])
    np.testing.assert_allclose(loss, kept_loss, rtol=1e-6)
    np.testing.assert_allclose(gradient[counts], kept_gradient, rtol=1e-5, atol=1e-6)
    assert not jnp.any(gradient[~counts])


@pytest.mark.parametrize("mass_term", [False, True])
def test_a_batch_without_any_number_is_zero_with_zero_gradient(mass_term):
    logits = batch()[0]
    labels = jnp.full((8, 6), -100)
    loss, gradient = jax.value_and_grad(lambda z: _per_row(z, labels, mass_term).sum())(logits)
    assert loss == 0
    assert not jnp.any(gradient)


def test_the_mass_term_where_no_number_is_possible_costs_the_most_with_zero_gradient():
    logits = jnp.zeros((1, V)).at[:, TABLE.ids].set(-jnp.inf)
    run = functools.partial(number_token_loss, labels=TABLE.ids[:1], table=TABLE, mass_term=True)
    loss, gradient = jax.value_and_grad(lambda z: run(z).sum())(logits)
    np.testing.assert_allclose(loss, 1.01 * 9)
    assert not jnp.any(gradient)


@pytest.mark.parametrize("mass_term", [False, True])
def test_extreme_logits_stay_finite(mass_term):
    logits, labels = batch()
    loss, gradient = jax.value_and_grad(lambda z: _per_row(z, labels, mass_term).sum())(logits * 1e6)
    assert jnp.isfinite(loss)
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize(
    ("loss", "mass_term"), [(number_token_wasserstein, False), (SQUASHED, True), (number_token_mse, True)]
)
def test_eight_devices_gather_nothing_and_agree_with_one_in_value_and_gradient(loss, mass_term):
    logits, labels = batch()

    def total(logits, labels):
        return number_token_loss(logits, labels, TABLE, loss=loss, mass_term=mass_term).sum()

    eager = jax.value_and_grad(total)(logits, labels)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put((logits, labels), NamedSharding(mesh, P("data")))
    compiled = jax.jit(jax.value_and_grad(total)).lower(*sharded).compile()
    assert "all-gather" not in str(compiled.as_text())
    value, gradient = compiled(*sharded)
    np.testing.assert_allclose(value, eager[0], rtol=1e-6)
    np.testing.assert_allclose(gradient, eager[1], rtol=1e-5, atol=1e-6)


def test_the_mass_terms_gradients_equal_finite_differences():
    logits, labels = batch(1)
    run = functools.partial(number_token_loss, labels=labels, table=TABLE, mass_term=True)
    check_grads(lambda z: run(z), (logits,), order=1, atol=1e-2, rtol=1e-2, eps=1e-2)


def test_the_table_may_be_an_argument_of_jit_or_stand_in_a_closure():
    logits, labels = batch()
    in_closure = jax.jit(lambda z: number_token_loss(z, labels, TABLE))(logits)
    assert jnp.array_equal(jax.jit(number_token_loss)(logits, labels, TABLE), in_closure)


@pytest.mark.parametrize(
    "loss", [number_token_raft, number_token_real, functools.partial(number_token_gaussian, sigma=2.0)]
)
def test_losses_of_log_probs_are_refused_on_logits(loss):
    with pytest.raises(ValueError, match="needs log-probs over the vocabulary"):
        number_token_loss(jnp.zeros((1, V)), jnp.array([2]), TABLE, loss=loss)


@pytest.mark.parametrize("loss", [number_token_dist2, digit_entropy])
def test_the_mass_term_of_a_loss_without_a_bound_needs_one(loss):
    with pytest.raises(ValueError, match="has no bound: give max_loss"):
        number_token_loss(jnp.zeros((1, V)), jnp.array([2]), TABLE, loss=loss, mass_term=True)

    def cost(logits):
        return number_token_loss(logits, jnp.array([2]), TABLE, loss=loss, mass_term=True, max_loss=9.0)[0]

    gradient = jax.grad(cost)(jnp.zeros((1, V)).at[0, 0].set(9.0))[0]
    assert gradient[TABLE.ids].sum() < 0 < gradient[0]  # probability moves from the word to the digits
