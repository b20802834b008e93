# SPDX-License-Identifier: Apache-2.0
"""A request to an engine: one prompt to sample from."""

import dataclasses

from ntl_jax.records.prompt import Prompt
from ntl_jax.records.sampling import Sampling

SEED_BITS = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """Asks for ``sampling.num_samples`` responses to a prompt: one group.

    Args:
        prompt: the prompt.
        sampling: sampling parameters.
        seed: in [0, 2**32). Random keys derive from ``seed``, ``prompt.draw`` and the sample's index, so the samples do
            not depend on the time of submission or on other requests.

    Raises:
        ValueError: if the seed is out of range.

    Example:
        >>> import numpy as np
        >>> prompt = Prompt(index=0, ids=np.array([7, 11, 8, 12]), text="2+3?", ground_truth="5")
        >>> Request(prompt, Sampling(num_samples=8, max_tokens=64), seed=0).prompt.draw
        0
    """

    prompt: Prompt
    sampling: Sampling
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**SEED_BITS:
            raise ValueError(f"seed={self.seed} must lie in [0, 2**{SEED_BITS}): take it modulo 2**{SEED_BITS}")
