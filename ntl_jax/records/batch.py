# SPDX-License-Identifier: Apache-2.0
"""What one update reads, and what it can say about each token."""

from typing import Generic, NamedTuple, TypeVar

from jaxtyping import Float

from ntl_jax.records.experience import Experience
from ntl_jax.records.rows import AnyArray, Rows, Targets

Tokens = TypeVar("Tokens", Targets, Experience)


class TokenWeights(NamedTuple):
    """The weight of each token in the terms of a loss; losses are sums, and the weights include their denominators.

    Example: the mean over the three tokens of ``#### 6``, of which one has a true number
        loss [1/3, 1/3, 1/3], numbers [0, 1/3, 0]
    """

    loss: Float[AnyArray, "B T"]
    numbers: Float[AnyArray, "B T"]
    reference: Float[AnyArray, "B T"] | None = None


class Batch(NamedTuple, Generic[Tokens]):
    """The rows of one update with what their response tokens are compared with, and the tokens' weights.

    ``tokens`` are `Targets` in the supervised stage and an `Experience` in policy optimization.
    """

    rows: Rows
    tokens: Tokens
    weights: TokenWeights


class TokenOutputs(NamedTuple):
    """What the policy said about each response token of an update, before its parameters moved."""

    log_probs: Float[AnyArray, "B T"]
    entropy: Float[AnyArray, "B T"]
