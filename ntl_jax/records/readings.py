# SPDX-License-Identifier: Apache-2.0
"""Values read from the distribution over number tokens at each position."""

from typing import NamedTuple

from jaxtyping import Float, Int

from ntl_jax.records.rows import AnyArray


class NumberReadings(NamedTuple):
    """Loss, most likely number and probabilities at each position; loss and truth_probability are 0 without truth.

    Example: the truth is 5, and 6 is three times as likely; squared error of the expected digit 5.75
        loss 0.5625, predicted 6, top_probability 0.75, truth_probability 0.25
    """

    loss: Float[AnyArray, "..."]
    predicted: Int[AnyArray, "..."]
    top_probability: Float[AnyArray, "..."]
    truth_probability: Float[AnyArray, "..."]
