# SPDX-License-Identifier: Apache-2.0
"""What the settings say of sampling: how responses are drawn, and how many at a time."""

import math

from ntl_jax.config import RolloutSection
from ntl_jax.processes.exchange import num_processes
from ntl_jax.records import Sampling


def num_slots(rollout: RolloutSection, processes: int | None = None) -> int:
    """Samples in flight in an engine: the setting, or its share of an iteration's samples.

    Args:
        rollout: settings of sampling.
        processes: that train together; None: as many as do.

    Example:
        >>> num_slots(RolloutSection(prompts_per_step=32, num_samples=8))
        256
    """
    num_engines = rollout.pool.workers if rollout.engine == "pool" else processes or num_processes()
    return rollout.slots or math.ceil(rollout.prompts_per_step / num_engines) * rollout.num_samples


def training_sampling(
    rollout: RolloutSection, *, stop_token_ids: tuple[int, ...] = (), capture_digits: bool
) -> Sampling:
    """How the responses of an iteration are drawn.

    Args:
        rollout: settings of sampling.
        stop_token_ids, capture_digits: as in `Sampling`.

    Example:
        >>> training_sampling(RolloutSection(num_samples=8), capture_digits=True).num_samples
        8
    """
    return Sampling(
        num_samples=rollout.num_samples,
        max_tokens=rollout.max_tokens,
        temperature=rollout.temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
        min_p=rollout.min_p,
        stop_token_ids=stop_token_ids,
        stop_strings=rollout.stop_strings,
        capture_digits=capture_digits,
    )
