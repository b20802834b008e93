# SPDX-License-Identifier: Apache-2.0
"""A loss on whole numerals: how far off is the number that several digits spell together?

Everything is scaled by the numeral's highest place, so that a numeral of any length stays within float32, and the error
is summed digit by digit, so that a wrong last digit of twenty is not lost to rounding.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.numbers.number_token import number_probs
from ntl_jax.losses.per_token import absolute
from ntl_jax.ops.arguments import check_arrays, check_mask, check_not_negative

# Keeps 0 against 0 at 0 / eps and not 0 / 0; in units of the numeral's highest place.
SMAPE_EPS = 1e-8
_DIGITS = 10


def numeral_smape(
    digit_logits: Float[Array, "... T 10"],
    digit_targets: Int[Array, "... T"],
    exponents: Int[Array, "... T"],
    numeral_ids: Int[Array, "... T"],
    *,
    num_numerals: int,
    same_sign: Bool[Array, "... K"] | None = None,
) -> Float[Array, "... K"]:
    """Symmetric relative error of whole numerals: `|yhat - y| / (|yhat| + |y| + eps)`, one value per numeral.

    The expected value `yhat = sum_k E[digit_k] 10^{p_k}` is compared with `y = sum_k digit_k 10^{p_k}`. A numeral whose
    sign is wrong has error `|yhat| + |y|`, so a loss of 1. A digit whose ten logits are all -inf counts as the digit
    farthest from the true one, without gradient.

    The symmetric error of forecasting, without its factor of 2 (Flores, 1986,
    https://doi.org/10.1016/0305-0483(86)90013-7), of the number that the digits' distributions spell in expectation.

    Args:
        digit_logits: [..., T, 10] logits or log-probs of the ten digits.
        digit_targets: [..., T] the true digits 0..9; ignored where `numeral_ids` is -1.
        exponents: [..., T] the place p of each digit: 0 for units, 1 for tens, -1 for tenths.
        numeral_ids: [..., T] which numeral of its row a position belongs to, in `[0, num_numerals)`; -1 for none.
        num_numerals: how many numerals a row may hold, K; a Python int.
        same_sign: [..., K] bool, whether the predicted sign is the true one; by default everywhere.

    Returns:
        [..., K] float32 in [0, 1]; 0 for numerals that no position belongs to.

    Raises:
        ValueError: shapes that do not fit, or `same_sign` not bool.

    Example:
        >>> predicted = jnp.log(jnp.eye(10)[jnp.array([1, 9, 3])])  # 193 where 123 is true
        >>> places, numeral = jnp.array([2, 1, 0]), jnp.zeros(3, int)
        >>> print(numeral_smape(predicted, jnp.array([1, 2, 3]), places, numeral, num_numerals=1).round(4))
        [0.2215]
    """
    check_numerals(digit_logits, digit_targets, exponents, numeral_ids)
    check_not_negative(num_numerals=num_numerals)
    member = members(numeral_ids, num_numerals)
    counted = jnp.any(member, axis=-1)
    true_digits = jnp.where(counted, digit_targets, 0).astype(jnp.float32)
    digits = jnp.broadcast_to(jnp.arange(_DIGITS, dtype=jnp.float32), digit_logits.shape)
    probs, possible = number_probs(digit_logits, counted)
    farthest = jnp.where(true_digits < _DIGITS / 2, _DIGITS - 1.0, 0.0) - true_digits
    errors = jnp.where(possible, jnp.sum(probs * (digits - true_digits[..., None]), axis=-1), farthest)

    weights, _ = place_weights(member, counted, exponents)
    error = jnp.sum(weights * errors[..., None], axis=-2)
    total = jnp.sum(weights * (errors + 2.0 * true_digits)[..., None], axis=-2)
    if same_sign is None:
        return absolute(error) / (total + SMAPE_EPS)
    check_mask(same_sign, "same_sign")
    if same_sign.shape != error.shape:
        raise ValueError(f"same_sign {same_sign.shape} must have the shape {error.shape} of the numerals")
    return jnp.where(same_sign, absolute(error), total) / (total + SMAPE_EPS)


def members(numeral_ids: Int[Array, "... T"], num_numerals: int) -> Bool[Array, "... T K"]:
    """Whether each position belongs to each numeral."""
    return numeral_ids[..., None] == jnp.broadcast_to(jnp.arange(num_numerals), (*numeral_ids.shape, num_numerals))


def place_weights(
    member: Bool[Array, "... T K"], counted: Bool[Array, "... T"], exponents: Int[Array, "... T"]
) -> tuple[Float[Array, "... T K"], Float[Array, "... K"]]:
    """The place value of each position in its numeral, over that of the numeral's highest place; and that place."""
    places = jnp.broadcast_to(jnp.where(counted, exponents, 0).astype(jnp.float32)[..., None], member.shape)
    highest = jnp.max(jnp.where(member, places, -jnp.inf), axis=-2, keepdims=True)
    return jnp.where(member, 10.0 ** jnp.where(member, places - highest, 0.0), 0.0), highest[..., 0, :]


def check_numerals(
    digit_logits: Float[Array, "... T 10"],
    digit_targets: Int[Array, "... T"],
    exponents: Int[Array, "... T"],
    numeral_ids: Int[Array, "... T"],
) -> None:
    """ValueError for shapes that do not fit."""
    check_arrays(digit_logits=digit_logits, digit_targets=digit_targets, exponents=exponents, numeral_ids=numeral_ids)
    if digit_logits.shape[-1] != _DIGITS:
        raise ValueError(
            f"digit_logits {digit_logits.shape} must end in 10, the digits: see NumberTable.merge_by_value"
        )
    for name, array in (("digit_targets", digit_targets), ("exponents", exponents), ("numeral_ids", numeral_ids)):
        if array.shape != digit_logits.shape[:-1]:
            raise ValueError(f"{name} {array.shape} must have the shape {digit_logits.shape[:-1]} of the positions")
