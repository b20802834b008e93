# SPDX-License-Identifier: Apache-2.0
"""What a distribution over number tokens says about each position."""

from typing import NamedTuple

from jaxtyping import Float, Int

from ntl_jax.records.rows import AnyArray


class NumberReadings(NamedTuple):
    """What is read off at each position; loss and the truth's probability are 0 where there is no truth.

    Example: 6 is three times as likely as 5, which was right; squared error of the expected digit 5.75
        loss 0.5625, predicted 6, top_probability 0.75, truth_probability 0.25
    """

    loss: Float[AnyArray, "..."]
    predicted: Int[AnyArray, "..."]
    top_probability: Float[AnyArray, "..."]
    truth_probability: Float[AnyArray, "..."]
