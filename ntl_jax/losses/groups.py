# SPDX-License-Identifier: Apache-2.0
"""Groups of samples of one prompt, by id: sums, counts and deviations in memory linear in the number of samples.

Ids are any ints in any order. Sorting the ids numbers the groups from 0. There are at most as many groups as rows, so
sums have a static shape and everything works under `jit`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.ops.arguments import check_arrays, check_mask

Ids = Int[Array | np.ndarray, " B"]
"""Any ints; of 64 bits only on the host."""


class Groups(NamedTuple):
    """For each of B rows, its group.

    Args:
        group: its number, in [0, B).
        counted: whether the row has a valid score.
        size: number of rows in the group.
        num_counted: number of rows in the group with a valid score.
    """

    group: Int[Array, " B"]
    counted: Bool[Array, " B"]
    size: Float[Array, " B"]
    num_counted: Float[Array, " B"]

    @property
    def has_baseline(self) -> Bool[Array, " B"]:
        """Whether a row has a baseline: in a group of several samples, a single valid score has none."""
        return self.counted & ((self.num_counted > 1) | (self.size == 1))

    def sums(self, x: Float[Array, " B"]) -> Float[Array, " B"]:
        """For each row the sum of `x` over its group; `x` must be 0 in rows without a valid score."""
        return _sums(x, self.group)


def scored_groups(
    scores: Float[Array, " B"], group_ids: Ids, where: Bool[Array, " B"] | None, **lengths: Array
) -> tuple[Float[Array, " B"], Groups]:
    """The scores in float32, and the groups of rows with equal ids.

    Args:
        scores: [B].
        group_ids: int [B].
        where: bool [B], rows that have a valid score. None: all.
        lengths: [B], another argument with one entry per row.

    Raises:
        ValueError: an argument is not an array of the right dtype, or the shapes are not [B].
    """
    check_arrays(scores=scores, **lengths)
    _check_ids(group_ids)
    rows = {"scores": scores, "group_ids": group_ids, **lengths}
    if where is not None:
        check_mask(where, "where")
        rows["where"] = where
    if scores.ndim != 1 or len({x.shape for x in rows.values()}) > 1:
        given = ", ".join(f"{name} {x.shape}" for name, x in rows.items())
        raise ValueError(f"{given} must all be [B]: one number per sample (sum token rewards over the response first)")
    return jnp.asarray(scores, jnp.float32), _group_rows(group_ids, where)


def deviations(
    scores: Float[Array, " B"], groups: Groups, weights: Float[Array, " B"] | None = None
) -> Float[Array, " B"]:
    """Scores minus the (weighted) mean of the valid scores of their group; a group of one sample keeps its score.

    0 for rows without a valid score, and for a single valid score in a group of several samples.

    Args:
        scores: [B] float32.
        groups: the groups of the rows.
        weights: [B] float32, weights of the scores in the mean. None: equal.
    """
    scores = jnp.where(groups.counted, scores, 0.0)
    weights = jnp.where(groups.counted, 1.0 if weights is None else weights, 0.0)
    best = jax.ops.segment_max(jnp.where(groups.counted, scores, -jnp.inf), groups.group, num_segments=len(scores))
    relative = jnp.where(groups.counted, scores - best[groups.group], 0.0)
    mean = groups.sums(weights * relative) / jnp.maximum(groups.sums(weights), 1.0)
    compared = jnp.where(groups.num_counted > 1, relative - mean, scores)
    return jnp.where(groups.has_baseline, compared, 0.0)


def _check_ids(group_ids: Ids) -> None:
    is_array = isinstance(group_ids, jax.Array | np.ndarray)
    if not is_array or not jnp.issubdtype(group_ids.dtype, jnp.integer):
        raise ValueError(
            f"group_ids are {group_ids.dtype if is_array else f'a {type(group_ids).__name__}'}: pass an array of ints, "
            "equal for samples of the same prompt; np.unique(group_ids, return_inverse=True)[1] converts any ids"
        )


def _group_rows(group_ids: Ids, where: Array | None) -> Groups:
    index = _numbered(group_ids)
    one = jnp.ones(index.shape, jnp.float32)
    size = _sums(one, index)
    if where is None:
        return Groups(index, one > 0, size, size)
    return Groups(index, jnp.asarray(where), size, _sums(jnp.where(where, one, 0.0), index))


def _numbered(group_ids: Ids) -> Array:
    """The index of each id's group, in ascending order of ids."""
    if isinstance(group_ids, np.ndarray):  # numbered in numpy: JAX would truncate 64-bit ids to 32 bits
        return jnp.asarray(np.unique(group_ids, return_inverse=True)[1], jnp.int32)
    return jnp.unique(group_ids, return_inverse=True, size=len(group_ids))[1]


def _sums(x: Array, index: Array) -> Array:
    return jax.ops.segment_sum(x, index, num_segments=len(index))[index]
