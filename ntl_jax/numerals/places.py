# SPDX-License-Identifier: Apache-2.0
"""The decimal place of the digit that each token of a text wrote, for losses that weigh digits by it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ntl_jax.numerals.spans import find_numerals


class DigitPlaces(NamedTuple):
    """Where in their numbers the digits of a text stand, by token; 0 for tokens that wrote none.

    Args:
        exponents: power of ten of the digit: 0 for units, -1 for tenths.
        digits_behind: how many digits follow it before the decimal point or, for decimals, before the end.
    """

    exponents: Int[np.ndarray, "T"]
    digits_behind: Int[np.ndarray, "T"]


def digit_places(text: str, starts: Int[np.ndarray, "T"]) -> DigitPlaces:
    """The places of the digits of a text whose tokens hold at most one digit.

    Args:
        text: what the tokens wrote.
        starts: for each token, where its part of the text begins, as `TokenDecoder` gives it.

    Example: ``1,203.45``, one character a token
        >>> places = digit_places("1,203.45", np.arange(8))
        >>> places.exponents.tolist(), places.digits_behind.tolist()
        ([3, 0, 2, 1, 0, 0, -1, -2], [3, 0, 2, 1, 0, 0, 1, 0])
    """
    found = DigitPlaces(np.zeros(len(starts), np.int32), np.zeros(len(starts), np.int32))
    for numeral in find_numerals(text):
        # Of the tokens that begin at one offset, the last one wrote the character; those before it wrote nothing.
        at = np.searchsorted(starts, numeral.offsets, side="right") - 1
        places, num_decimals = np.asarray(numeral.places), len(numeral.digits) - numeral.num_integer
        found.exponents[at] = places
        found.digits_behind[at] = np.where(places >= 0, places, places + num_decimals)
    return found
