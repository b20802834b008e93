# SPDX-License-Identifier: Apache-2.0
"""Rewards: text and digit probabilities in, numbers out; and the protocol by which they are called."""

from ntl_jax.reward_calls.outcome import RewardOutcome
from ntl_jax.reward_calls.protocol import CALL, EXTRAS, JUDGED, is_built_in, load_reward
from ntl_jax.reward_calls.reward_function import RewardFunction
from ntl_jax.reward_calls.workers import RewardError
from ntl_jax.rewards.answers import extract_answer, is_correct
from ntl_jax.rewards.bonuses import (
    compute_confidence_reward,
    compute_high_confidence_reward,
    compute_ntl_bonus_all,
    compute_ntl_bonus_final_answer,
    compute_score,
    compute_score_ntl_enhanced,
)
from ntl_jax.rewards.closeness import absolute_closeness, leading_digits, log_closeness, relative_closeness
from ntl_jax.rewards.final_answer import (
    calculate_final_answer_confidence,
    calculate_final_answer_digit_accuracy,
    calculate_final_answer_prob_quality,
    find_final_answer_positions,
)
from ntl_jax.rewards.functions import compute_full_ntl_reward, exact_match, ntl_gated_reward, ntl_reward

__all__ = [
    "CALL",
    "EXTRAS",
    "JUDGED",
    "RewardError",
    "RewardFunction",
    "RewardOutcome",
    "absolute_closeness",
    "calculate_final_answer_confidence",
    "calculate_final_answer_digit_accuracy",
    "calculate_final_answer_prob_quality",
    "compute_confidence_reward",
    "compute_full_ntl_reward",
    "compute_high_confidence_reward",
    "compute_ntl_bonus_all",
    "compute_ntl_bonus_final_answer",
    "compute_score",
    "compute_score_ntl_enhanced",
    "exact_match",
    "extract_answer",
    "find_final_answer_positions",
    "is_built_in",
    "is_correct",
    "leading_digits",
    "load_reward",
    "log_closeness",
    "ntl_gated_reward",
    "ntl_reward",
    "relative_closeness",
]
