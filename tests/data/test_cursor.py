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


@given(
    counts=st.lists(sizes, min_size=2, max_size=4),
    weights=st.lists(st.floats(0.01, 10), min_size=4, max_size=4),
    batch_size=sizes,
    before=st.integers(0, 5),
)
def test_sources_get_their_shares_in_epochs_of_their_own_and_go_on_after_a_restart(counts, weights, batch_size, before):
    source_indices, weights = [i for i, count in enumerate(counts) for _ in range(count)], weights[: len(counts)]
    settings = {"source_indices": source_indices, "weights": weights}
    cursor = DataCursor(len(source_indices), batch_size, 1, **settings)
    batches = [cursor.next_of_epochs() for _ in range(before)]
    resumed = DataCursor(len(source_indices), batch_size, 1, **settings)
    resumed.restore(json.loads(json.dumps(cursor.state())))
    batches += (later := [cursor.next_of_epochs() for _ in range(5)])
    again = [resumed.next_of_epochs() for _ in range(5)]
    np.testing.assert_array_equal(np.concatenate(later, axis=1), np.concatenate(again, axis=1))
    epochs, rows = np.concatenate(batches, axis=1).tolist()
    draws = list(zip(epochs, rows, strict=True))
    assert len({*draws}) == len(draws)  # a draw is an epoch and a row
    drawn = np.bincount([source_indices[row] for row in rows], minlength=len(counts))
    assert np.all(np.abs(drawn - len(rows) * np.array(weights) / sum(weights)) <= len(counts))
    for source, count in enumerate(counts):
        of_source = [draw for draw in draws if source_indices[draw[1]] == source]
        assert [epoch for epoch, _ in of_source] == [i // count for i in range(len(of_source))]


def test_with_one_source_weights_change_nothing():
    plain, weighted = DataCursor(10, 4, 3), DataCursor(10, 4, 3, source_indices=[0] * 10, weights=(0.3,))
    assert drawn(plain, 6) == drawn(weighted, 6) and plain.state() == weighted.state()


def test_a_source_with_a_weight_and_no_rows_is_refused():
    with pytest.raises(ValueError, match="source 1 has a weight and no rows"):
        DataCursor(2, 1, 0, source_indices=[0, 0], weights=(1.0, 1.0))
