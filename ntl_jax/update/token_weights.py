# SPDX-License-Identifier: Apache-2.0
"""The weight of each token in an update's loss. Weights include the denominators, so parts add up."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ntl_jax.losses import digit_entropy_weights, ntil_weights, token_weights
from ntl_jax.losses.numbers import OF_SINGLE_DIGITS, SupervisedMethod
from ntl_jax.numerals import TokenDecoder, digit_places
from ntl_jax.records import Experience, Targets, TokenWeights

_token_weights = jax.jit(token_weights, static_argnames=("mode", "scale"))
"""One program: operation by operation there would be seven to compile for each shape."""


def supervised_weights(targets: Targets, of_places: Float[np.ndarray, "B T"] | None = None) -> TokenWeights:
    """Weights for two means: cross entropy over all tokens, NTL over tokens with a true number.

    Args:
        targets: the solutions.
        of_places: factors of the NTL of each token, which do not enter the mean's denominator; None: all are 1.
    """
    loss, numbers = (np.asarray(_token_weights(mask)) for mask in (targets.mask, targets.has_number))
    return TokenWeights(loss, numbers if of_places is None else numbers * of_places)


def place_weights(
    method: SupervisedMethod, solutions: Sequence[Int[np.ndarray, "T"]], decode: TokenDecoder
) -> list[Float[np.ndarray, "T"]] | None:
    """The weight of each token by the decimal place of its digit, for the methods that have one.

    Args:
        method: the number-aware loss.
        solutions: ids of each solution, each token with at most one digit.
        decode: of their tokenizer.

    Returns:
        An array for each solution, in which tokens without a digit, which have no number loss, count as units; None for
        a method without such weights.
    """
    if method not in OF_SINGLE_DIGITS:
        return None
    places = [digit_places(*decode(ids)) for ids in solutions]
    if method == "del":
        weights = digit_entropy_weights(jnp.asarray(np.concatenate([found.exponents for found in places])))
    else:
        weights = ntil_weights(jnp.asarray(np.concatenate([found.digits_behind for found in places])))
    return np.split(np.asarray(weights), np.cumsum([len(ids) for ids in solutions])[:-1])


def policy_weights(
    experience: Experience, *, mode: str = "token-mean", scale: int, reference_weight: float = 0.0
) -> TokenWeights:
    """The weight of each token in an update's loss; a digit's NTL weighs as much as a token's loss.

    Args:
        experience: all rows of the update, one response each, on the host.
        mode: aggregation mode.
        scale: longest response, for seq-mean-token-sum-norm.
        reference_weight: weight of the divergence from the reference policy, if the experience has its log-probs.
    """
    weights = np.asarray(_token_weights(experience.mask, mode=mode, scale=scale))
    numbers = np.where(experience.targets.has_number, weights, np.float32(0))
    has_reference = experience.reference_log_probs is not None
    return TokenWeights(weights, numbers, np.float32(reference_weight) * weights if has_reference else None)
