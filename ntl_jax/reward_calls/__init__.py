# SPDX-License-Identifier: Apache-2.0
"""Finding a reward function and calling it without trusting it.

Imports nothing else of this package: a worker's process, which imports this, starts in a fraction of a second.
"""

from ntl_jax.reward_calls.outcome import RewardOutcome
from ntl_jax.reward_calls.protocol import CALL, EXTRAS, JUDGED, is_built_in, load_reward
from ntl_jax.reward_calls.reward_function import RewardFunction
from ntl_jax.reward_calls.workers import RewardError

__all__ = [
    "CALL",
    "EXTRAS",
    "JUDGED",
    "RewardError",
    "RewardFunction",
    "RewardOutcome",
    "is_built_in",
    "load_reward",
]
