# SPDX-License-Identifier: Apache-2.0
"""How the settings say that responses are drawn."""

from ntl_jax.config import RolloutSection
from ntl_jax.records import Sampling


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
