# SPDX-License-Identifier: Apache-2.0
"""Engines that sample responses and capture their log-probs."""

from ntl_jax.rollout.engine import RolloutEngine
from ntl_jax.rollout.jax.engine import JaxEngine
from ntl_jax.rollout.vllm.engine import VllmEngine

__all__ = ["JaxEngine", "RolloutEngine", "VllmEngine"]
