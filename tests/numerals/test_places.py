# SPDX-License-Identifier: Apache-2.0
"""Where in their numbers the digits of a text stand."""

import numpy as np

from ntl_jax.numerals import digit_places


def test_places_count_from_the_decimal_point_and_digits_behind_from_the_end_of_their_side():
    places = digit_places("so 3.015", np.arange(8))
    assert places.exponents[3:].tolist() == [0, 0, -1, -2, -3]
    assert places.digits_behind[3:].tolist() == [0, 0, 2, 1, 0]


def test_thousands_commas_do_not_end_a_number_and_a_full_stop_is_no_decimal_point():
    places = digit_places("1,234.", np.arange(6))
    assert places.exponents.tolist() == places.digits_behind.tolist() == [3, 0, 2, 1, 0, 0]


def test_a_token_is_found_by_its_part_of_the_text():
    """Tokens ``<s>`` (writes nothing), `` 4``, ``2`` and ``apples``."""
    places = digit_places(" 42apples", np.array([0, 0, 2, 3]))
    assert places.exponents.tolist() == [0, 1, 0, 0]


def test_a_text_without_numbers_has_no_places():
    assert not any(x.any() for x in digit_places("none", np.arange(4)))
    assert [x.shape for x in digit_places("", np.arange(0))] == [(0,), (0,)]
