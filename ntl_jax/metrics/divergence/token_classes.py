# SPDX-License-Identifier: Apache-2.0
"""Classes of divergent tokens: which side was sure of the token, and whether it is a number."""

import re

CONFIDENT, REJECTS = 0.5, 0.2
"""A side is confident of a token above the first probability, and rejects it below the second."""
FLIPS = ("rollout_confident_actor_rejects", "actor_confident_rollout_rejects", "both_unsure")
_NUMBER = re.compile(r"^[\d.]+$")


def flip_type(rollout_prob: float | None, actor_prob: float | None) -> str | None:
    """Which side was sure of a token that the other rejects; None if a probability is unknown.

    Example:
        >>> flip_type(0.9, 0.1), flip_type(0.1, 0.9), flip_type(0.5, 0.1)
        ('rollout_confident_actor_rejects', 'actor_confident_rollout_rejects', 'both_unsure')
    """
    if rollout_prob is None or actor_prob is None:
        return None
    if rollout_prob > CONFIDENT and actor_prob < REJECTS:
        return FLIPS[0]
    if actor_prob > CONFIDENT and rollout_prob < REJECTS:
        return FLIPS[1]
    return FLIPS[2]


def is_number(text: str) -> bool:
    """Whether a token's text is digits and dots alone.

    Example:
        >>> is_number("7"), is_number("3.14"), is_number(" 7")
        (True, True, False)
    """
    return _NUMBER.match(text) is not None
