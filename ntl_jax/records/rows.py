# SPDX-License-Identifier: Apache-2.0
"""Rectangular rows of prompts and responses: a model's input in two layouts, and its targets.

Arrays are numpy while rows are built, and JAX in compiled programs. Masks mark padding, never a pad id.
"""

from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

AnyArray = Array | np.ndarray


class Rows(NamedTuple):
    """A model's input, and the positions at which it predicts.

    A row is a prompt and its response, padded on the right, or several such pairs packed: ``segment_ids`` then number
    the segments from 1, 0 for padding, and ``positions`` restart at 0. None: one segment per row. ``predictors[b, t]``
    is the position in the row whose hidden state predicts response token t: only these go through the vocabulary head.

    Example: the row of the prompt ``2+3?`` with ``#### 6`` (S = 8, T = 3)
        tokens [7, 11, 8, 12, 20, 6, 1, 0], positions [0, 1, 2, 3, 4, 5, 6, 7], predictors [3, 4, 5]
    """

    tokens: Int[AnyArray, "B S"]
    positions: Int[AnyArray, "B S"]
    segment_ids: Int[AnyArray, "B S"] | None
    predictors: Int[AnyArray, "B T"]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of positions in a row."""
        num_rows, row_size = self.tokens.shape
        return num_rows, row_size


class SharedRows(NamedTuple):
    """A model's input in which each prompt stands once, for all of its responses.

    A row is a prompt, padded on the left so that its last token is at P - 1, and G responses, each padded on the right.
    Each response continues the prompt and does not see the others. Arrays with one entry per response are in the order
    of the rows: B = rows x G.

    Example: the row of the prompt ``2+3?`` with the responses ``#### 6`` and ``5`` (P = 5, G = 2, T = 3)
        prompts [[0, 7, 11, 8, 12]], prompt_lengths [4], responses [[[20, 6, 1], [5, 1, 0]]],
        response_lengths [[3, 2]]
    """

    prompts: Int[AnyArray, "rows P"]
    prompt_lengths: Int[AnyArray, "rows"]
    responses: Int[AnyArray, "rows G T"]
    response_lengths: Int[AnyArray, "rows G"]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of positions in a row."""
        num_rows, num_samples, response_size = self.responses.shape
        return num_rows, self.prompts.shape[1] + num_samples * response_size


AnyRows = Rows | SharedRows


class Targets(NamedTuple):
    """The response tokens: ids, which tokens count, and the true number at each token, NaN for none.

    Example: ``#### 6``, whose true digit is 5
        ids [20, 6, 1], mask [True, True, True], numbers [nan, 5, nan]
    """

    ids: Int[AnyArray, "B T"]
    mask: Bool[AnyArray, "B T"]
    numbers: Float[AnyArray, "B T"]

    @property
    def has_number(self) -> Bool[AnyArray, "B T"]:
        """Tokens that count and have a true number."""
        return self.mask & (self.numbers == self.numbers)  # NaN differs from itself, in numpy and in JAX
