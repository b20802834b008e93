# SPDX-License-Identifier: Apache-2.0
"""Words that scale the number before them."""

import pytest

from ntl_jax.numerals.answers.words import scale_of


@pytest.mark.parametrize(
    ("word", "scale"),
    [("Million", 10**6), ("hundreds", 100), ("lakh", 10**5), ("dozen", None), ("s", None), ("half", None), ("", None)],
)
def test_only_powers_of_ten_scale_in_any_case_and_number(word, scale):
    assert scale_of(word) == scale
