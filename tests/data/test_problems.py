# SPDX-License-Identifier: Apache-2.0
"""Malformed rows stop a run, unless they are to be skipped and others remain."""

import pytest

from ntl_jax.data.problems import MOST_LISTED, check_faults


def test_faults_may_be_skipped_only_while_good_rows_remain():
    check_faults([], num_good=0, on_bad_row="error")
    check_faults(["f:1: bad"], num_good=1, on_bad_row="skip")
    with pytest.raises(ValueError, match="1 of 1 rows are malformed"):
        check_faults(["f:1: bad"], num_good=0, on_bad_row="skip")


@pytest.mark.parametrize(("num_faults", "more"), [(MOST_LISTED, ""), (MOST_LISTED + 3, "\n  and 3 more")])
def test_an_error_lists_some_of_the_faults_and_counts_the_others(num_faults, more):
    with pytest.raises(ValueError) as error:
        check_faults([f"f:{i}: bad" for i in range(num_faults)], num_good=5, on_bad_row="error")
    listed = "".join(f"\n  f:{i}: bad" for i in range(MOST_LISTED)) + more
    assert str(error.value).startswith(f"{num_faults} of {num_faults + 5} rows") and str(error.value).endswith(listed)
