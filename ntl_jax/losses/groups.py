# SPDX-License-Identifier: Apache-2.0
"""Groups of samples of one prompt, by id: sums, counts and deviations in memory linear in the samples.

Ids are any ints in any order. Sorting them numbers the groups from 0, of which there are at most as many as rows, so
that the sums have a static shape and everything works under `jit`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.ops.arguments import check_arrays, check_mask


class Groups(NamedTuple):
    """What each of B rows knows of its group.

    Args:
        index: number of the group, in [0, B).
        counted: rows that have a valid score.
        size: rows of the group.
        num_counted: rows of the group that have a valid score.
    """

    index: Int[Array, " B"]
    counted: Bool[Array, " B"]
    size: Float[Array, " B"]
    num_counted: Float[Array, " B"]

    @property
    def has_baseline(self) -> Bool[Array, " B"]:
        """Rows with an advantage: one valid score of several samples has nothing to be compared with."""
        return self.counted & ((self.num_counted > 1) | (self.size == 1))

    def sums(self, x: Float[Array, " B"]) -> Float[Array, " B"]:
        """For each row the sum over its group; `x` is 0 where a row does not count."""
        return _sums(x, self.index)


def scored_groups(
    scores: Float[Array, " B"], group_ids: Int[Array, " B"], where: Bool[Array, " B"] | None, **lengths: Array
) -> tuple[Float[Array, " B"], Groups]:
    """The scores in float32, and the groups of rows that share an id.

    Args:
        scores: [B].
        group_ids: int [B].
        where: bool [B], rows that have a valid score. None: all.
        lengths: [B], what else has an entry a row.

    Raises:
        ValueError: an argument is no array of the right kind, or the shapes are not [B].
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
    """Scores minus the (weighted) mean of their group's valid ones; a sample without others keeps its score.

    0 for rows that have no valid score, and where of several samples only one has.

    Args:
        scores: [B] float32.
        groups: of the rows.
        weights: [B] float32, of the scores in the mean. None: equal.
    """
    scores = jnp.where(groups.counted, scores, 0.0)
    weights = jnp.where(groups.counted, 1.0 if weights is None else weights, 0.0)
    best = jax.ops.segment_max(jnp.where(groups.counted, scores, -jnp.inf), groups.index, num_segments=len(scores))
    relative = jnp.where(groups.counted, scores - best[groups.index], 0.0)
    mean = groups.sums(weights * relative) / jnp.maximum(groups.sums(weights), 1.0)
    compared = jnp.where(groups.num_counted > 1, relative - mean, scores)
    return jnp.where(groups.has_baseline, compared, 0.0)


def _check_ids(group_ids: Array) -> None:
    is_array = isinstance(group_ids, jax.Array | np.ndarray)
    if not is_array or not jnp.issubdtype(group_ids.dtype, jnp.integer):
        raise ValueError(
            f"group_ids are {group_ids.dtype if is_array else f'a {type(group_ids).__name__}'}: pass an array of ints, "
            "equal where the prompt is the same; np.unique(group_ids, return_inverse=True)[1] makes it of any ids"
        )


def _group_rows(group_ids: Array, where: Array | None) -> Groups:
    index = _numbered(group_ids)
    one = jnp.ones(index.shape, jnp.float32)
    size = _sums(one, index)
    if where is None:
        return Groups(index, one > 0, size, size)
    return Groups(index, jnp.asarray(where), size, _sums(jnp.where(where, one, 0.0), index))


def _numbered(group_ids: Array) -> Array:
    """The ids as the numbers of their groups, in the order of the ids."""
    if isinstance(group_ids, np.ndarray):  # numbered as they are: JAX would cut ids of 64 bits to 32
        return jnp.asarray(np.unique(group_ids, return_inverse=True)[1], jnp.int32)
    return jnp.unique(group_ids, return_inverse=True, size=len(group_ids))[1]


def _sums(x: Array, index: Array) -> Array:
    return jax.ops.segment_sum(x, index, num_segments=len(index))[index]
