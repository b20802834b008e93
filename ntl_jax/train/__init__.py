# SPDX-License-Identifier: Apache-2.0
"""Trainers, from a configuration."""

from ntl_jax.train.factory import create_ppo_trainer
from ntl_jax.train.run import NonFiniteError, RewardError, run

__all__ = ["NonFiniteError", "RewardError", "create_ppo_trainer", "run"]
