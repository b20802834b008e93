# SPDX-License-Identifier: Apache-2.0
"""What an iteration learns from: response tokens with their credit."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int

from ntl_jax.records.rows import AnyArray, Targets


class Values(NamedTuple):
    """The critic's values before the first update of the iteration, and the returns to compare them with."""

    old: Float[AnyArray, "B T"]
    returns: Float[AnyArray, "B T"]


class Experience(NamedTuple):
    """Response tokens with everything that policy optimization needs about them, one entry per token.

    ``old_log_probs`` are the denominators of the importance ratio. ``correction_weights`` multiply each token's
    advantage to correct sampler-trainer mismatch; None: no correction. ``reference_log_probs`` are the reference
    policy's, if the divergence from it is a term of the loss; ``values`` are the critic's. ``rollout_log_probs`` are
    the sampler's, if ``old_log_probs`` are not; ``kinds`` are indices into `ntl_jax.numerals.kinds.KINDS`, if tokens
    are compared by kind.

    Example: ``#### 6`` instead of 5 is the worse of two samples: each of its tokens has advantage -1
        targets.ids [20, 6, 1], old_log_probs [-0.1, -0.6, -0.01], advantages [-1, -1, -1]
    """

    targets: Targets
    old_log_probs: Float[AnyArray, "B T"]
    advantages: Float[AnyArray, "B T"]
    correction_weights: Float[AnyArray, "B T"] | None = None
    reference_log_probs: Float[AnyArray, "B T"] | None = None
    values: Values | None = None
    rollout_log_probs: Float[AnyArray, "B T"] | None = None
    kinds: Int[AnyArray, "B T"] | None = None

    @property
    def mask(self) -> Bool[AnyArray, "B T"]:
        """Tokens that count."""
        return self.targets.mask
