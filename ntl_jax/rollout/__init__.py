# SPDX-License-Identifier: Apache-2.0
"""Engines that sample responses and capture their log-probs."""

from typing import TYPE_CHECKING

from ntl_jax.rollout.engine import RolloutEngine
from ntl_jax.rollout.jax.engine import JaxEngine
from ntl_jax.rollout.vllm.engine import VllmEngine

if TYPE_CHECKING:
    from ntl_jax.rollout.pool.pool import RayPool

__all__ = ["JaxEngine", "RayPool", "RolloutEngine", "VllmEngine"]


def __getattr__(name: str) -> type[RolloutEngine]:
    """Imports the pool, and Ray with it, when it is first asked for."""
    if name != "RayPool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ntl_jax.rollout.pool.pool import RayPool

    return RayPool
