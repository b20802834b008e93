# SPDX-License-Identifier: Apache-2.0
"""Claims about masked reductions: what the mask leaves out does not exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from ntl_jax.ops import check_mask, masked_mean, masked_sum, masked_variance, masked_whiten

REDUCTIONS = [masked_sum, masked_mean, masked_variance]
X = jax.random.normal(jax.random.key(0), (4, 6)) * 3 + 2
MASK = jnp.arange(24).reshape(4, 6) % 5 > 1


@pytest.mark.parametrize(
    ("reduction", "dense"),
    [(masked_sum, np.sum), (masked_mean, np.mean), (masked_variance, lambda x: np.var(x, ddof=1))],
)
def test_masking_equals_dropping(reduction, dense):
    np.testing.assert_allclose(reduction(X, MASK), dense(np.asarray(X)[np.asarray(MASK)]), rtol=1e-5)
    rows = [dense(np.asarray(x)[np.asarray(m)]) for x, m in zip(X, MASK, strict=True)]
    np.testing.assert_allclose(reduction(X, MASK, axis=-1), rows, rtol=1e-5)


@pytest.mark.parametrize("reduction", [*REDUCTIONS, masked_whiten])
@pytest.mark.parametrize("poison", [jnp.nan, jnp.inf])
def test_what_stands_outside_the_mask_changes_neither_value_nor_gradient(reduction, poison):
    poisoned = jnp.where(MASK, X, poison)
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(reduction(x, MASK) ** 3))(poisoned)
    clean_value, clean_gradient = jax.value_and_grad(lambda x: jnp.sum(reduction(x, MASK) ** 3))(X)
    assert value == clean_value
    assert jnp.array_equal(gradient, clean_gradient)
    assert not jnp.any(jnp.where(MASK, 0.0, gradient))


@pytest.mark.parametrize("reduction", [*REDUCTIONS, masked_whiten])
def test_an_empty_mask_gives_zero_with_zero_gradient(reduction):
    empty = jnp.zeros_like(MASK)
    assert not jnp.any(reduction(X, empty))
    assert not jnp.any(jax.grad(lambda x: jnp.sum(reduction(x, empty)))(X))


def test_whitened_values_have_mean_zero_and_variance_one_and_are_zero_outside():
    white = masked_whiten(X, MASK)
    assert masked_mean(white, MASK) == pytest.approx(0, abs=1e-6)
    assert masked_variance(white, MASK) == pytest.approx(1, rel=1e-5)
    assert not jnp.any(jnp.where(MASK, 0.0, white))


@pytest.mark.parametrize("devices", [1, 8])
def test_whitening_a_constant_gives_exactly_zero_however_its_sum_is_rounded(devices):
    mask = jnp.arange(1000) % 7 != 1
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    # The compiler knows a mask in a closure, and divides by its count with a rounded reciprocal.
    whiten = jax.jit(
        lambda x: (masked_whiten(x, mask), masked_whiten(x, jnp.ones_like(mask)), masked_variance(x, mask))
    )
    for constant in np.random.default_rng(0).uniform(-1000, 1000, 40):
        x = jax.device_put(np.full(1000, constant, np.float32), NamedSharding(mesh, P("data")))
        assert not any(jnp.any(result) for result in whiten(x)), constant


def test_an_outlier_does_not_cost_the_others_their_digits():
    x = np.concatenate([[1e6], np.linspace(1, 2, 99)]).astype(np.float32)
    exact = (x - x.mean(dtype=np.float64)) / np.sqrt(x.var(ddof=1, dtype=np.float64) + 1e-8)
    white = np.asarray(masked_whiten(jnp.asarray(x), jnp.ones(100, bool)), np.float64)
    np.testing.assert_allclose(white, exact, rtol=1e-6)


def test_reductions_of_bfloat16_are_in_float32():
    ones = jnp.ones(1000, jnp.bfloat16)  # bfloat16 cannot count beyond 256
    total = masked_sum(ones, jnp.ones(1000, bool))
    assert total.dtype == jnp.float32
    assert total == 1000


def test_a_float_mask_is_refused():
    with pytest.raises(ValueError, match=r"mask is float32.*pass mask.astype\(bool\)"):
        masked_sum(X, MASK.astype(jnp.float32))
    with pytest.raises(ValueError, match="where is int32"):
        check_mask(MASK.astype(jnp.int32), "where")


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="broadcast it explicitly"):
        masked_mean(X, MASK[0])
