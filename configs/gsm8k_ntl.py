# SPDX-License-Identifier: Apache-2.0
"""A tiny policy learns GSM8K-style arithmetic: supervised warm start, then clipped PPO with Number Token Loss."""

from ntl_jax.config import RunConfig


def get_config() -> RunConfig:
    return RunConfig(name="gsm8k_ntl")
