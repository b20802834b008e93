# SPDX-License-Identifier: Apache-2.0
"""Malformed rows stop a run, unless they are to be skipped and others remain."""

import pytest

from ntl_jax.data.problems import MOST_LISTED, check_faults

BAD = ("f:1", "bad")


def test_faults_may_be_skipped_only_while_good_rows_remain():
    check_faults([], num_good=0, on_bad_row="error")
    check_faults([BAD], num_good=1, on_bad_row="skip")
    with pytest.raises(ValueError, match="1 of 1 rows are malformed"):
        check_faults([BAD], num_good=0, on_bad_row="skip")


@pytest.mark.parametrize(("num_faults", "more"), [(MOST_LISTED, ""), (MOST_LISTED + 3, "\n  and 3 more")])
def test_an_error_lists_some_of_the_faults_and_counts_the_others(num_faults, more):
    with pytest.raises(ValueError) as error:
        check_faults([(f"f:{i}", f"bad {i}") for i in range(num_faults)], num_good=5, on_bad_row="error")
    listed = "".join(f"\n  f:{i}: bad {i}" for i in range(MOST_LISTED)) + more
    assert str(error.value).startswith(f"{num_faults} of {num_faults + 5} rows") and str(error.value).endswith(listed)


def test_rows_with_the_same_fault_share_a_line():
    with pytest.raises(ValueError, match=r"6 of 7 rows[^\n]*\n  f:0, f:1, f:2 and 2 more: bad\n  f:9: worse$"):
        check_faults([*((f"f:{i}", "bad") for i in range(5)), ("f:9", "worse")], num_good=1, on_bad_row="error")


@pytest.mark.parametrize(("num_good", "proposed"), [(1, True), (0, False)])
def test_skipping_is_proposed_only_where_it_helps(num_good, proposed):
    with pytest.raises(ValueError) as error:
        check_faults([BAD], num_good=num_good, on_bad_row="error")
    assert ("data.on_bad_row=skip" in str(error.value)) == proposed
