# SPDX-License-Identifier: Apache-2.0
"""Claims about what the per-token formulas share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.per_token import (
    absolute,
    check_shapes,
    contain,
    num_sequences,
    sequence_ends,
    sequence_means,
    sequence_sums,
)

X = jnp.array([[1.0, 2.0, 4.0, 8.0], [16.0, 32.0, 64.0, 128.0]])
MASK = jnp.array([[True, True, False, True], [False, True, True, False]])


def test_sums_and_means_stand_on_every_token_of_their_sequence():
    np.testing.assert_array_equal(sequence_sums(X, MASK), [[11.0] * 4, [96.0] * 4])
    segment_ids = jnp.array([[5, 5, 0, 5], [0, 0, 0, -1]])
    np.testing.assert_array_equal(sequence_sums(X, MASK, segment_ids), [[3, 3, 0, 8], [96, 96, 96, 0]])
    np.testing.assert_array_equal(sequence_means(X, MASK, segment_ids), [[1.5, 1.5, 0, 8], [48, 48, 48, 0]])


def test_segment_ids_of_64_bits_are_told_apart():
    segment_ids = np.array([[0, 0, 2**32, 2**32]] * 2)
    sums = sequence_sums(X, MASK, segment_ids)  # pyright: ignore
    np.testing.assert_array_equal(sums, [[3, 3, 8, 8], [32, 32, 64, 64]])
    assert sequence_ends(MASK, segment_ids)[0].tolist() == [False, True, False, True]  # pyright: ignore


def test_sequences_end_where_the_id_changes_and_count_where_a_token_does():
    segment_ids = jnp.array([[5, 5, 0, 5], [0, 0, 0, -1]])
    np.testing.assert_array_equal(sequence_ends(MASK, segment_ids), [[0, 1, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_array_equal(sequence_ends(MASK), [[0, 0, 0, 1]] * 2)
    assert num_sequences(MASK, segment_ids) == 3 and num_sequences(MASK) == 2


def test_the_absolute_value_has_no_gradient_at_zero():
    values, gradients = jax.vmap(jax.value_and_grad(absolute))(jnp.array([-2.0, 0.0, 3.0]))
    np.testing.assert_array_equal(values, [2.0, 0.0, 3.0])
    np.testing.assert_array_equal(gradients, [-1.0, 0.0, 1.0])


def test_contain_empties_a_token_in_all_arrays_if_it_is_bad_in_one():
    bad, x, y = contain(jnp.array([1.0, jnp.nan, 3.0], jnp.bfloat16), jnp.array([4.0, 5.0, -jnp.inf]))
    np.testing.assert_array_equal(bad, [False, True, True])
    np.testing.assert_array_equal(x, [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(y, [4.0, 0.0, 0.0])
    assert x.dtype == jnp.float32


@pytest.mark.parametrize("shape", [(2,), (3, 4), (2, 3), (1, 2, 4), ()])
def test_shapes_that_would_broadcast_by_accident_are_refused(shape):
    check_shapes(a=jnp.zeros((2, 4)), b=jnp.zeros((2, 1)), c=jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match="shapes do not agree: a"):
        check_shapes(a=jnp.zeros((2, 4)), b=jnp.zeros(shape))
