# SPDX-License-Identifier: Apache-2.0
"""Trainers, from a configuration."""

from ntl_jax.experience.scorer import ExtractionError
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.train.journal.memory_use import OutOfMemoryError
from ntl_jax.train.run import run
from ntl_jax.train.stops import MismatchError, NonFiniteError, RewardError, Terminated
from ntl_jax.train.trainers import (
    EXAMPLE_CONFIGS,
    create_all_tokens_ntl_trainer,
    create_final_answer_ntl_trainer,
    create_ntl_trainer,
    create_ppo_trainer,
    create_standard_trainer,
)

__all__ = [
    "EXAMPLE_CONFIGS",
    "ExtractionError",
    "MismatchError",
    "NonFiniteError",
    "OutOfMemoryError",
    "RewardError",
    "Terminated",
    "WorkersLostError",
    "create_all_tokens_ntl_trainer",
    "create_final_answer_ntl_trainer",
    "create_ntl_trainer",
    "create_ppo_trainer",
    "create_standard_trainer",
    "run",
]
