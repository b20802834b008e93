# SPDX-License-Identifier: Apache-2.0
"""The losses of a digit by name, and how a distribution over number tokens is divided: favorite and truth."""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntl_jax.losses.numbers.kernel import number_token_smmd
from ntl_jax.losses.numbers.number_token import number_probs, number_token_mse, number_token_wasserstein
from ntl_jax.losses.numbers.place_weighted import digit_entropy
from ntl_jax.losses.numbers.regression_aware import number_token_raft
from ntl_jax.losses.numbers.soft_targets import number_token_dist2, number_token_gaussian

Method = Literal["mse", "wasserstein", "raft"]
"""Of the record and the actor: bounded, and 0 where all probability is on the truth."""
SupervisedMethod = Literal["mse", "wasserstein", "raft", "dist2", "gaussian", "smmd", "del", "ntil"]

LOSSES: Mapping[str, Callable[[Array, Array, Array], Array]] = {
    "mse": number_token_mse,
    "wasserstein": number_token_wasserstein,
    "raft": number_token_raft,
    "dist2": number_token_dist2,
    "gaussian": number_token_gaussian,
    "smmd": number_token_smmd,
    "del": digit_entropy,
    "ntil": number_token_wasserstein,  # the distance in it; its weights are those of the tokens
}
"""By method: (log-probs of the number tokens, their bare logits for ``del``; targets; values) -> losses."""

MAX_LOSS: Mapping[Method, float] = {"mse": 81.0, "wasserstein": 9.0, "raft": 81.0}
"""The largest loss a digit can have, which a missing or surplus place costs."""

OF_SINGLE_DIGITS = ("del", "ntil")
"""Methods with a weight for each decimal place, which tokens of several digits do not have."""


def shares(
    number_logits: Float[Array, "... M"], truth: Float[Array, "..."], values: Float[np.ndarray, "M"]
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """The most likely value, its share of the number tokens' probability, and the true value's share.

    Tokens of one value are taken together.

    Args:
        number_logits: logits or log-probs of the number tokens; -inf leaves a token out.
        truth: the true values, NaN where there is none.
        values: the tokens' values, ascending.

    Example: 6 three times as likely as 5.
        >>> logits = jnp.full((1, 10), -jnp.inf).at[0, 5].set(0.0).at[0, 6].set(jnp.log(3.0))
        >>> [round(x.item(), 4) for x in shares(logits, jnp.array([5.0]), np.arange(10.0))]
        [6.0, 0.75, 0.25]
    """
    distinct, index = np.unique(values, return_inverse=True)
    probs, _ = number_probs(number_logits, jnp.ones(truth.shape, bool))
    if len(distinct) < len(values):
        by_token = jnp.moveaxis(probs, -1, 0)
        merged = jax.ops.segment_sum(by_token, index, num_segments=len(distinct), indices_are_sorted=True)
        probs = jnp.moveaxis(merged, 0, -1)
    distinct = jnp.asarray(distinct, jnp.float32)
    at_truth = jnp.broadcast_to(distinct, probs.shape) == jnp.broadcast_to(truth[..., None], probs.shape)
    truth_probability = jnp.sum(jnp.where(at_truth, probs, 0.0), axis=-1)
    return distinct[jnp.argmax(probs, axis=-1)], jnp.max(probs, axis=-1), truth_probability
