# SPDX-License-Identifier: Apache-2.0
"""Number tokens of several digits compete with those of as many digits, on the scale of one."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.numbers.methods import LOSSES, MAX_LOSS
from ntl_jax.losses.numbers.widths import of_same_width, to_digit_scale
from ntl_jax.numerals import NumberTable

PIECES = [*(str(i) for i in range(10)), *(f"{i:02}" for i in range(100)), "x"]
TABLE = NumberTable.from_vocab({piece: i for i, piece in enumerate(PIECES)}, kind="numbers")


def test_only_tokens_of_as_many_digits_are_left():
    ids = jnp.array([PIECES.index("7"), PIECES.index("42"), PIECES.index("x")])
    log_probs, widths = of_same_width(jnp.zeros((3, 110)), ids, TABLE)
    assert widths is not None and widths.tolist() == [1, 2, 0]
    assert (log_probs == 0).sum(axis=-1).tolist() == [10, 100, 0]


def test_a_table_of_digits_changes_nothing():
    table = NumberTable.from_vocab({str(i): i for i in range(10)})
    log_probs, losses = jnp.arange(10.0)[None], jnp.array([3.0])
    left, widths = of_same_width(log_probs, jnp.array([3]), table)
    assert left is log_probs and widths is None
    assert to_digit_scale(losses, widths, "mse") is losses


@pytest.mark.parametrize("method", LOSSES)
@pytest.mark.parametrize("width", [1, 2, 5, 9])
def test_the_largest_error_of_any_width_costs_what_that_of_a_digit_costs(method, width):
    largest = 10.0**width - 1
    loss = largest if method == "wasserstein" else largest**2
    np.testing.assert_allclose(
        to_digit_scale(jnp.array([loss]), jnp.array([width]), method), MAX_LOSS[method], rtol=1e-5
    )
