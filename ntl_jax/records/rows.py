# SPDX-License-Identifier: Apache-2.0
"""Rectangular rows of prompts and responses: what a model reads, and what it should have predicted.

Arrays are numpy while rows are built, JAX in the programs. Everything is defined by masks, never by a pad id.
"""

from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

AnyArray = Array | np.ndarray


class Rows(NamedTuple):
    """What a model reads, and where it predicts.

    A row is a prompt and its response, padded on the right, or several of these packed: ``segment_ids`` then number
    them from 1, with 0 for padding, and ``positions`` start at 0 in each. None: one segment a row. ``predictors[b, t]``
    is the position in the row whose hidden state predicts response token t: only these go through the vocabulary head.

    Example: the row of the prompt ``2+3?`` with ``#### 6`` (S = 8, T = 3)
        tokens [7, 11, 8, 12, 20, 6, 1, 0], positions [0, 1, 2, 3, 4, 5, 6, 7], predictors [3, 4, 5]
    """

    tokens: Int[AnyArray, "B S"]
    positions: Int[AnyArray, "B S"]
    segment_ids: Int[AnyArray, "B S"] | None
    predictors: Int[AnyArray, "B T"]


class Targets(NamedTuple):
    """The response tokens: their ids, which of them count, and the true number at each, NaN where there is none.

    Example: ``#### 6``, whose digit should have been 5
        ids [20, 6, 1], mask [True, True, True], numbers [nan, 5, nan]
    """

    ids: Int[AnyArray, "B T"]
    mask: Bool[AnyArray, "B T"]
    numbers: Float[AnyArray, "B T"]

    @property
    def has_number(self) -> Bool[AnyArray, "B T"]:
        """Tokens that count and have a true number."""
        return self.mask & (self.numbers == self.numbers)  # NaN differs from itself, in numpy and in JAX
