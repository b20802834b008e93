# SPDX-License-Identifier: Apache-2.0
"""The cursor loses and repeats no row of an epoch, and goes on exactly where it stood."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.data.cursor import DataCursor

sizes = st.integers(1, 12)


def drawn(cursor, num_batches):
    return np.concatenate([cursor.next() for _ in range(num_batches)]).tolist()


@given(num_rows=sizes, batch_size=sizes, seed=st.integers(0, 2**40))
def test_every_epoch_holds_every_row_once_whatever_the_batch_size(num_rows, batch_size, seed):
    rows = drawn(DataCursor(num_rows, batch_size, seed), num_batches=3 * num_rows)
    for epoch in range(3 * batch_size):
        assert sorted(rows[epoch * num_rows : (epoch + 1) * num_rows]) == list(range(num_rows))


@given(num_rows=sizes, batch_size=sizes, before=st.integers(0, 5))
def test_a_restored_cursor_goes_on_like_the_uninterrupted_one(num_rows, batch_size, before):
    cursor = DataCursor(num_rows, batch_size, seed=1)
    for _ in range(before):
        cursor.next()
    resumed = DataCursor(num_rows, batch_size, seed=1)
    resumed.next()
    resumed.restore(json.loads(json.dumps(cursor.state())))
    assert drawn(resumed, 5) == drawn(cursor, 5)


def test_every_batch_has_the_same_size():
    cursor = DataCursor(num_rows=10, batch_size=4, seed=0)
    assert {cursor.next().shape for _ in range(6)} == {(4,)}


def test_the_order_does_not_depend_on_the_batch_size():
    assert drawn(DataCursor(10, 5, seed=0), 4) == drawn(DataCursor(10, 2, seed=0), 10)


def test_epochs_and_seeds_have_orders_of_their_own():
    first = drawn(DataCursor(100, 200, seed=0), 1)
    assert first[:100] != first[100:]
    assert first != drawn(DataCursor(100, 200, seed=1), 1)


def test_what_a_batch_holds_can_be_changed_without_changing_later_ones():
    cursor, untouched = DataCursor(8, 4, seed=0), DataCursor(8, 4, seed=0)
    cursor.next()[:] = 0
    untouched.next()
    assert drawn(cursor, 3) == drawn(untouched, 3)


@pytest.mark.parametrize(("other", "name"), [(DataCursor(9, 4, 0), "num_rows"), (DataCursor(8, 4, 5), "seed")])
def test_a_state_of_other_data_or_another_seed_is_refused(other, name):
    with pytest.raises(ValueError, match=f"saved data cursor has {name}="):
        DataCursor(8, 4, seed=0).restore(other.state())


@pytest.mark.parametrize(("num_rows", "batch_size"), [(0, 4), (4, 0)])
def test_no_rows_or_an_empty_batch_are_refused(num_rows, batch_size):
    with pytest.raises(ValueError, match="at least 1"):
        DataCursor(num_rows, batch_size, seed=0)
