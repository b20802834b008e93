# SPDX-License-Identifier: Apache-2.0
"""Rewards: text and digit probabilities in, numbers out."""

from ntl_jax.rewards.answers import extract_answer, is_correct
from ntl_jax.rewards.calling import RewardFunction, RewardOutcome
from ntl_jax.rewards.functions import exact_match, ntl_reward
from ntl_jax.rewards.ntl_info import MAX_LOSS, build_ntl_info
from ntl_jax.rewards.protocol import load_reward

__all__ = [
    "MAX_LOSS",
    "RewardFunction",
    "RewardOutcome",
    "build_ntl_info",
    "exact_match",
    "extract_answer",
    "is_correct",
    "load_reward",
    "ntl_reward",
]
