# SPDX-License-Identifier: Apache-2.0
"""Advantages from several rewards of each sample.

Deviations from the published GDPO: the advantage is whitened with its variance over samples, as in the authors' code
for TRL (their code for verl weighs samples by their lengths), and epsilon is that of `group_advantages`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.advantages import group_advantages
from ntl_jax.losses.groups import scored_groups
from ntl_jax.ops.arguments import check_arrays
from ntl_jax.ops.masked import masked_whiten


def gdpo_advantages(
    scores: Float[Array, "B K"],
    group_ids: Int[Array, " B"],
    *,
    where: Bool[Array, " B"] | None = None,
    weights: Float[Array, " K"] | None = None,
    epsilon: float = 1e-6,
) -> Float[Array, " B"]:
    """Each reward normalized within its group, then added, then whitened over the batch.

    `A_k = (R_k - mean_G R_k) / (std_G R_k + epsilon)`, `A = whiten(sum_k w_k A_k)`, std and variance unbiased. Samples
    whose rewards differ, but have the same sum, keep different advantages; a reward in which all samples of a prompt
    agree says nothing, however large it is. A single sample with a score in a group of several gets 0, and is left out
    of the whitening; a group of one sample keeps its scores.

    Liu et al., "GDPO: Group reward-Decoupled Normalization Policy Optimization", https://arxiv.org/abs/2601.05242, and
    its code, https://github.com/NVlabs/GDPO.

    Args:
        scores: [B, K] K rewards of each sample, each in a unit of its own.
        group_ids: int [B], any ints in any order; rows of one id are samples of one prompt.
        where: bool [B], the samples with valid scores. None: all.
        weights: [K] of the normalized rewards. None: 1.
        epsilon: added to each standard deviation, in units of the reward; at least 0.

    Returns:
        [B] float32 without unit, 0 outside `where`.

    Raises:
        ValueError: `where` is not bool, `group_ids` are not ints, the shapes are not [B, K], [B] and [K], or `epsilon`
            is negative.

    Example: samples 0 and 1 have the same sum; reward 0, which only one sample got, counts more
        >>> scores = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
        >>> gdpo_advantages(scores, jnp.zeros(4, int)).round(3).tolist()
        [0.69..., 0.398..., -1.486..., 0.398...]
    """
    check_arrays(scores=scores)
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"scores {scores.shape} must be [B, K], the K rewards of each of B samples")
    if weights is not None:
        check_arrays(weights=weights)
        if weights.shape != scores.shape[1:]:
            raise ValueError(f"weights {weights.shape} must be [K], one for each reward of the scores {scores.shape}")

    def of_one(column: Array) -> Array:
        return group_advantages(column, group_ids, where=where, epsilon=epsilon)

    by_reward = jax.vmap(of_one, in_axes=1, out_axes=1)(jnp.asarray(scores, jnp.float32))
    total = jnp.sum(by_reward if weights is None else by_reward * jnp.asarray(weights, jnp.float32)[None], axis=1)
    _, groups = scored_groups(scores[:, 0], group_ids, where)
    return masked_whiten(total, groups.has_baseline)
