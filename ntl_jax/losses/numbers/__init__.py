# SPDX-License-Identifier: Apache-2.0
"""What a number token costs: losses by distance, what they need, and what a distribution over numbers says."""

from ntl_jax.losses.numbers.methods import LOSSES, MAX_LOSS, OF_SINGLE_DIGITS, Method, SupervisedMethod, shares
from ntl_jax.losses.numbers.widths import of_same_width, to_digit_scale

__all__ = [
    "LOSSES",
    "MAX_LOSS",
    "OF_SINGLE_DIGITS",
    "Method",
    "SupervisedMethod",
    "of_same_width",
    "shares",
    "to_digit_scale",
]
