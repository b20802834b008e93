# SPDX-License-Identifier: Apache-2.0
"""Groups of samples by id: numbered, counted and compared with their own mean, and with no other group's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.losses.groups import deviations, scored_groups

IDS: Any = np.array([7, -3, 7, 7, 900, -3])  # numpy's ids are taken too, for those of 64 bits
ONE_GROUP: Any = np.array([1, 1])
SCORES = jnp.array([1.0, 2.0, 4.0, 100.0, 5.0, 6.0])
VALID = jnp.array([True, True, True, False, True, True])


def test_rows_of_one_id_are_a_group_whatever_the_ids_are():
    _, groups = scored_groups(SCORES, IDS, None)
    assert groups.size.tolist() == [3, 2, 3, 3, 1, 2]
    assert groups.sums(SCORES).tolist() == [105, 8, 105, 105, 5, 8]


def test_rows_without_a_valid_score_count_for_the_size_alone():
    _, groups = scored_groups(SCORES, IDS, VALID)
    assert groups.size.tolist() == [3, 2, 3, 3, 1, 2]
    assert groups.num_counted.tolist() == [2, 2, 2, 2, 1, 2]
    assert groups.has_baseline.tolist() == [True, True, True, False, True, True]


def test_deviations_are_from_the_mean_of_the_valid_scores_and_a_single_sample_keeps_its_score():
    scores, groups = scored_groups(SCORES, IDS, VALID)
    assert deviations(scores, groups).tolist() == [-1.5, -2.0, 1.5, 0.0, 5.0, 2.0]


def test_a_single_valid_score_of_several_samples_has_no_baseline():
    scores, groups = scored_groups(jnp.array([3.0, 4.0]), ONE_GROUP, jnp.array([True, False]))
    assert deviations(scores, groups).tolist() == [0.0, 0.0]


def test_weights_move_the_mean_that_scores_are_compared_with():
    scores, groups = scored_groups(jnp.array([0.0, 4.0]), ONE_GROUP, None)
    assert deviations(scores, groups, weights=jnp.array([3.0, 1.0])).tolist() == [-1.0, 3.0]


def test_a_large_offset_common_to_a_group_costs_no_digits():
    scores, groups = scored_groups(jnp.array([1e7, 1e7 + 2]), ONE_GROUP, None)
    assert deviations(scores, groups).tolist() == [-1.0, 1.0]


def test_ids_of_64_bits_are_told_apart_and_ids_of_jax_work_under_jit():
    wide: Any = np.array([1, 1 + 2**32])
    _, groups = scored_groups(jnp.zeros(2), wide, None)
    assert groups.size.tolist() == [1, 1]
    sums = jax.jit(lambda scores, ids: scored_groups(scores, ids, None)[1].sums(scores))(SCORES, jnp.asarray(IDS))
    assert sums.tolist() == [105, 8, 105, 105, 5, 8]


@pytest.mark.parametrize("ids", [["a", "b"], np.array([0.0, 1.0])])
def test_ids_that_are_no_ints_are_refused_with_the_way_to_convert_them(ids):
    with pytest.raises(ValueError, match=r"group_ids are .*np\.unique\(group_ids, return_inverse=True\)"):
        scored_groups(jnp.zeros(2), ids, None)
