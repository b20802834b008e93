# SPDX-License-Identifier: Apache-2.0
"""What a number token costs: losses by distance, what they need, and what is read off a distribution over numbers."""

from ntl_jax.losses.numbers.readings import LOSSES, MAX_LOSS, Method, Readings, shares
from ntl_jax.losses.numbers.widths import of_same_width, to_digit_scale

__all__ = ["LOSSES", "MAX_LOSS", "Method", "Readings", "of_same_width", "shares", "to_digit_scale"]
