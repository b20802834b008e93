# SPDX-License-Identifier: Apache-2.0
"""From per-token losses to one number: the only reduction in this package.

Denominators are arguments. A batch that is split over micro-batches or devices adds up to the whole exactly if each
part is given the denominators of the whole; left out, they are counted from the mask that is given.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.per_token import num_sequences as count_sequences
from ntl_jax.losses.per_token import sequence_sums
from ntl_jax.ops.arguments import check_mask, check_not_negative, check_positive, check_same_shape, check_segment_ids
from ntl_jax.ops.masked import masked_sum

MODES = ("token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")

Count = int | float | Int[Array, ""] | Float[Array, ""]


def aggregate(
    per_token: Float[Array, "... T"],
    mask: Bool[Array, "... T"],
    *,
    mode: str = "token-mean",
    num_tokens: Count | None = None,
    num_sequences: Count | None = None,
    scale: Count | None = None,
    segment_ids: Int[Array, "... T"] | None = None,
) -> Float[Array, ""]:
    """Sum of the masked per-token values times `token_weights`, which see for the five modes and their sources.

    Args:
        per_token: [..., T]; what stands outside the mask, NaN included, changes neither value nor gradient.
        mask: bool [..., T].
        mode: one of `MODES`.
        num_tokens: masked tokens of the whole batch, for `token-mean`.
        num_sequences: non-empty sequences of the whole batch, for the `seq-mean-...` modes.
        scale: length, in tokens, that `seq-mean-token-sum-norm` divides by.
        segment_ids: int [..., T]; if rows have several sequences, each run of equal ids is one. None: one per row.

    Returns:
        Scalar float32; 0 where the mask is empty.

    Raises:
        ValueError: unknown mode, the mask is not bool, its shape differs from that of `per_token`, or a count or
            the scale is out of range, as in `token_weights`.

    Example:
        >>> losses, mask = jnp.array([[1.0, 3.0], [8.0, 0.0]]), jnp.array([[True, True], [True, False]])
        >>> aggregate(losses, mask).item()
        4.0
        >>> aggregate(losses, mask, mode="seq-mean-token-mean").item()
        5.0
    """
    denominators = {"num_tokens": num_tokens, "num_sequences": num_sequences, "scale": scale}
    weights = token_weights(mask, mode=mode, segment_ids=segment_ids, **denominators)
    check_same_shape(per_token=per_token, mask=mask)
    return masked_sum(per_token.astype(jnp.float32) * weights, mask)


def token_weights(
    mask: Bool[Array, "... T"],
    *,
    mode: str = "token-mean",
    num_tokens: Count | None = None,
    num_sequences: Count | None = None,
    scale: Count | None = None,
    segment_ids: Int[Array, "... T"] | None = None,
) -> Float[Array, "... T"]:
    """The weight of each token in `aggregate`, so that sequence modes survive packing: the weights travel with it.

    | mode | weight of a masked token |
    |---|---|
    | token-mean | 1 / num_tokens |
    | token-sum | 1 |
    | seq-mean-token-sum | 1 / num_sequences |
    | seq-mean-token-mean | 1 / (num_sequences * length of its sequence) |
    | seq-mean-token-sum-norm | 1 / (num_sequences * scale) |

    The first is DAPO's (https://arxiv.org/abs/2503.14476), the fourth GRPO's (https://arxiv.org/abs/2402.03300), the
    last Dr. GRPO's (https://arxiv.org/abs/2503.20783). Sequences without a masked token are not counted.

    Args:
        mask: bool [..., T].
        mode: one of `MODES`.
        num_tokens: masked tokens of the whole batch; counted from the mask if None.
        num_sequences: non-empty sequences of the whole batch; counted from the mask if None.
        scale: length in tokens; the padded T if None. Pass it, since T differs from batch to batch; it is required if
            rows have several sequences.
        segment_ids: int [..., T]; if rows have several sequences, each run of equal ids is one. None: one per row.

    Returns:
        [..., T] float32, 0 outside the mask.

    Raises:
        ValueError: unknown mode, the mask is not bool, a count is negative, or `scale` is not above 0 or is missing.

    Example:
        >>> token_weights(jnp.array([[True, True], [True, False]]), mode="seq-mean-token-mean").tolist()
        [[0.25, 0.25], [0.5, 0.0]]
    """
    check_mask(mask)
    check_segment_ids(segment_ids, mask)
    given = {"num_tokens": num_tokens, "num_sequences": num_sequences}
    check_not_negative(**{name: count for name, count in given.items() if count is not None})
    lengths = jnp.sum(mask, axis=-1, keepdims=True, dtype=jnp.float32)
    num_tokens = jnp.sum(lengths) if num_tokens is None else num_tokens
    if segment_ids is not None:
        lengths = sequence_sums(jnp.ones(mask.shape, jnp.float32), mask, segment_ids)
    num_sequences = count_sequences(mask, segment_ids) if num_sequences is None else num_sequences
    match mode:
        case "token-mean":
            denominator = _at_least_one(num_tokens)
        case "token-sum":
            denominator = 1.0
        case "seq-mean-token-sum":
            denominator = _at_least_one(num_sequences)
        case "seq-mean-token-mean":
            denominator = _at_least_one(num_sequences) * _at_least_one(lengths)
        case "seq-mean-token-sum-norm":
            denominator = _at_least_one(num_sequences) * _scale(scale, mask, segment_ids)
        case _:
            raise ValueError(f"mode={mode!r} is none of {', '.join(MODES)}")
    return jnp.where(mask, 1.0 / jnp.asarray(denominator, jnp.float32), 0.0)


def _scale(scale: Count | None, mask: Array, segment_ids: Array | None) -> Count:
    """The given scale, or the padded length if each row is one sequence."""
    if scale is not None:
        check_positive(scale=scale)
        return scale
    if segment_ids is not None:
        raise ValueError(
            f"mode='seq-mean-token-sum-norm' with segment_ids needs scale, the longest response in tokens: T="
            f"{mask.shape[-1]} is the length of a packed row"
        )
    return mask.shape[-1]


def _at_least_one(count: Count | Array) -> Array:
    """The count in float32, and 1 for 0: of nothing the mean is 0."""
    return jnp.maximum(jnp.asarray(count, jnp.float32), 1.0)
