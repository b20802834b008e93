# SPDX-License-Identifier: Apache-2.0
"""Rewards: text and digit probabilities in, numbers out."""

from ntl_jax.rewards.answers import extract_answer, is_correct
from ntl_jax.rewards.bonuses import (
    compute_confidence_reward,
    compute_high_confidence_reward,
    compute_ntl_bonus_all,
    compute_ntl_bonus_final_answer,
    compute_score,
    compute_score_ntl_enhanced,
)
from ntl_jax.rewards.final_answer import (
    calculate_final_answer_confidence,
    calculate_final_answer_digit_accuracy,
    calculate_final_answer_prob_quality,
    find_final_answer_positions,
)
from ntl_jax.rewards.functions import compute_full_ntl_reward, exact_match, ntl_gated_reward, ntl_reward
from ntl_jax.rewards.outcome import RewardOutcome
from ntl_jax.rewards.protocol import CALL, EXTRAS, JUDGED, load_reward, needs_numbers
from ntl_jax.rewards.reward_function import RewardFunction
from ntl_jax.rewards.workers import RewardError

__all__ = [
    "CALL",
    "EXTRAS",
    "JUDGED",
    "RewardError",
    "RewardFunction",
    "RewardOutcome",
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
    "is_correct",
    "load_reward",
    "needs_numbers",
    "ntl_gated_reward",
    "ntl_reward",
]
