# SPDX-License-Identifier: Apache-2.0
"""The input of one update, and its outputs for each token."""

from typing import Generic, NamedTuple, TypeVar

from jaxtyping import Float

from ntl_jax.records.experience import Experience
from ntl_jax.records.rows import AnyArray, AnyRows, Targets

Tokens = TypeVar("Tokens", Targets, Experience)


class TokenWeights(NamedTuple):
    """The weight of each token in the terms of a loss. Losses are sums; the weights include the denominators.

    Example: the mean over the three tokens of ``#### 6``, one of which has a true number
        loss [1/3, 1/3, 1/3], numbers [0, 1/3, 0]
    """

    loss: Float[AnyArray, "B T"]
    numbers: Float[AnyArray, "B T"]
    reference: Float[AnyArray, "B T"] | None = None


class Batch(NamedTuple, Generic[Tokens]):
    """The rows of one update, with their response tokens and token weights.

    ``tokens`` are `Targets` in the supervised stage and an `Experience` in policy optimization.
    """

    rows: AnyRows
    tokens: Tokens
    weights: TokenWeights


class TokenOutputs(NamedTuple):
    """The policy's outputs for each response token of an update, under the parameters before the update."""

    log_probs: Float[AnyArray, "B T"]
    entropy: Float[AnyArray, "B T"]
