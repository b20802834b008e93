# SPDX-License-Identifier: Apache-2.0
"""Losses that weigh a digit by its decimal place: Digit Entropy Loss (DEL) and Numerical Token Integrity Loss (NTIL).

Both are for tokens of one digit. The weights are apart from the losses, since they need no probabilities: multiply them
into the weights of the tokens, or `digit_entropy(...) * digit_entropy_weights(...)`. NTIL's loss of a token is
`number_token_wasserstein`, its earth mover's distance to one digit, times `ntil_weights`; `numeral_ntil` is its term of
the whole number.

Deviations. DEL (its code: https://github.com/PolyU-VCLab/DEL, `train-qwen-deepseek.py`): the decimal point, the
eleventh symbol of a number, ends the places above 1 and has itself weight 0, as in the code; a loss of its own, if the
paper has one, is left out. NTIL (https://github.com/xfey/NTIL): no Gumbel noise (0.01 of it in the code) before the
most likely digit is taken, so that the loss is a function; it is not scaled to the current size of the cross entropy.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntl_jax.losses.numbers.number_token import number_probs, value_gaps
from ntl_jax.losses.numbers.numeral import check_numerals, members, place_weights
from ntl_jax.losses.per_token import absolute
from ntl_jax.ops.arguments import check_arrays, check_not_negative, check_numbers

# Larger logits and weights are cut to it, so that products with them stay within float32.
_LARGEST = 1e30
_DECAY = 1.02  # of DEL's weights from decimal to decimal
_SHARPNESS = 0.1  # temperature of the softmax that stands in for NTIL's most likely digit in the gradient
_LEAST_UNIT = 1e-36  # of a number that is scaled to its highest place: a smaller one is no normal float32


def digit_entropy(
    number_logits: Float[Array, "... M"], targets: Float[Array, "..."], values: Float[Array, " M"]
) -> Float[Array, "..."]:
    """DEL, an entropy under supervision: `mean_j q_j b_j`, with b the binary cross entropy of each digit's own logit.

    `b_j = softplus(-z_j)` for the true digit and `softplus(z_j)` for the others: the entropy's `-log q_j` turned into
    a loss that knows the truth. There is no distance in it.

    Source: Zheng et al., "DEL: Digit Entropy Loss for Numerical Learning of Large Language Models",
    https://arxiv.org/abs/2605.20369; its code adds it to the cross entropy with weight 0.01 (Qwen, DeepSeek) or 0.1
    (Llama, Mistral). Deviations: at the top of this file.

    Args:
        number_logits: [..., M] bare logits of the number tokens: unlike all other losses here, this one depends on
            their common level, and where they lie below 0, as log-probs do, it can favor a wrong digit. Of log-probs
            the logits are `number_log_probs + log_normalizer`.
        targets: [...] true values; NaN where undefined.
        values: [M] values of the number tokens, in any order.

    Returns:
        [...] float32; above 0, unbounded; 0 where all logits are -inf.

    Raises:
        ValueError: shapes that do not fit.

    Example: q = 1/10 and b = ln 2 for each
        >>> print(digit_entropy(jnp.zeros((1, 10)), jnp.array([4.0]), jnp.arange(10.0)).round(4))
        [0.0693]
    """
    gaps, defined = value_gaps(number_logits, targets, values)
    counts = defined[..., None] & (number_logits != -jnp.inf)
    logits = jnp.clip(jnp.where(counts, number_logits, 0.0).astype(jnp.float32), -_LARGEST, _LARGEST)
    probs, _ = number_probs(jnp.where(counts, logits, -jnp.inf), defined)
    surprise = jax.nn.softplus(jnp.where(gaps == 0.0, -logits, logits))
    return jnp.mean(jnp.where(counts, probs * surprise, 0.0), axis=-1)


def digit_entropy_weights(exponents: Int[Array, "..."]) -> Float[Array, "..."]:
    """DEL's weight of a digit by its place p: `2 (p + 1)` for integers, `1.02^(p - 1)` for decimals.

    Source: `generate_place` in https://github.com/PolyU-VCLab/DEL. Deviations: a decimal without an integer before it
    (.5) counts as a decimal, and commas in an integer count for nothing, where the code starts a number anew.

    Args:
        exponents: [...] the place p of each digit: 0 for units, 1 for tens, -1 for tenths.

    Returns:
        [...] float32, above 0.

    Raises:
        ValueError: `exponents` is no array.

    Example: 123.45
        >>> print(*(f"{x:.4f}" for x in digit_entropy_weights(jnp.array([2, 1, 0, -1, -2]))))
        6.0000 4.0000 2.0000 0.9612 0.9423
    """
    check_arrays(exponents=exponents)
    places = exponents.astype(jnp.float32)
    return jnp.where(places >= 0, 2.0 * (places + 1.0), _DECAY ** (places - 1.0))


def ntil_weights(digits_behind: Int[Array, "..."], *, base: float = 1.2) -> Float[Array, "..."]:
    """NTIL's weight of a digit: `base^n`, n being the number of digits that follow it in its run.

    Source: Fei et al., https://arxiv.org/abs/2505.13077, with the base of their code, https://github.com/xfey/NTIL.

    Args:
        digits_behind: [...] n; a run ends at the decimal point, so 3.015 has n = 0 and then 2, 1, 0.
        base: above 0; 1 for equal weights.

    Returns:
        [...] float32, above 0.

    Raises:
        ValueError: `digits_behind` is no array, or `base` not above 0.

    Example: NTIL's loss of the digits of 123, all guessed uniformly
        >>> from ntl_jax.losses import number_token_wasserstein
        >>> distance = number_token_wasserstein(jnp.zeros((3, 10)), jnp.array([1.0, 2.0, 3.0]), jnp.arange(10.0))
        >>> print(*(f"{x:.3f}" for x in distance * ntil_weights(jnp.array([2, 1, 0]))))
        5.328 3.720 2.700
    """
    check_arrays(digits_behind=digits_behind)
    check_numbers("above 0: it is the ratio of the weights of two places", lambda x: x > 0, base=base)
    return jnp.minimum(base ** digits_behind.astype(jnp.float32), _LARGEST)


def numeral_ntil(
    digit_logits: Float[Array, "... T 10"],
    digit_targets: Int[Array, "... T"],
    exponents: Int[Array, "... T"],
    numeral_ids: Int[Array, "... T"],
    *,
    num_numerals: int,
    relative_weight: float = 0.2,
    magnitude_weight: float = 0.2,
) -> Float[Array, "... K"]:
    """NTIL's term of whole numbers: `a |x - y| / (max(x, y) + 1) + b log((max(x, y) + 1) / (min(x, y) + 1))`.

    Source: Fei et al., "Advancing Sequential Numerical Prediction in Autoregressive Models", ACL 2025,
    https://arxiv.org/abs/2505.13077; deviations: at the top of this file.

    x is the number that the most likely digits spell, `y = sum_k digit_k 10^{p_k}` the true one. In the gradient a
    softmax at temperature 0.1 stands for the most likely digit. A digit whose ten logits are all -inf counts as the one
    farthest from the true one, without gradient.

    Args:
        digit_logits, digit_targets, exponents, numeral_ids: as in `numeral_smape`; the authors' numbers are runs of
            digits, so decimals are a number of their own, with places from 0. The 1 in both terms counts as at least
            1e-36 of the highest place.
        num_numerals: how many numerals a row may hold, K; a Python int.
        relative_weight: a, of the relative error.
        magnitude_weight: b, of the difference in magnitude.

    Returns:
        [..., K] float32, at least 0; 0 for numerals that no position belongs to.

    Raises:
        ValueError: shapes that do not fit, or a negative weight.

    Example: 193 where 123 is true: 0.2 * 70 / 194 + 0.2 * ln(194 / 124)
        >>> predicted = 5.0 * jnp.eye(10)[jnp.array([1, 9, 3])]
        >>> places, numeral = jnp.array([2, 1, 0]), jnp.zeros(3, int)
        >>> print(numeral_ntil(predicted, jnp.array([1, 2, 3]), places, numeral, num_numerals=1).round(4))
        [0.1617]
    """
    check_numerals(digit_logits, digit_targets, exponents, numeral_ids)
    check_not_negative(num_numerals=num_numerals, relative_weight=relative_weight, magnitude_weight=magnitude_weight)
    member = members(numeral_ids, num_numerals)
    counted = jnp.any(member, axis=-1)
    true_digits = jnp.where(counted, digit_targets, 0).astype(jnp.float32)
    digits = _most_likely(digit_logits, true_digits, counted)
    weights, highest = place_weights(member, counted, exponents)
    number, truth, error = (
        jnp.sum(weights * x[..., None], axis=-2) for x in (digits, true_digits, digits - true_digits)
    )
    unit = jnp.maximum(10.0 ** -jnp.where(jnp.any(member, axis=-2), highest, 0.0), _LEAST_UNIT)
    larger, smaller = jnp.maximum(number, truth) + unit, jnp.minimum(number, truth) + unit
    return relative_weight * absolute(error) / larger + magnitude_weight * jnp.log1p(absolute(error) / smaller)


def _most_likely(digit_logits: Array, true_digits: Array, counted: Array) -> Array:
    """The most likely digit, with the gradient of the mean of a sharp softmax."""
    digits = jnp.broadcast_to(jnp.arange(10.0, dtype=jnp.float32), digit_logits.shape)
    possible = digit_logits != -jnp.inf
    logits = jnp.clip(
        jnp.where(possible & counted[..., None], digit_logits, 0.0).astype(jnp.float32), -_LARGEST, _LARGEST
    )
    sharp, exists = number_probs(jnp.where(possible, logits / _SHARPNESS, -jnp.inf), counted)
    mean = jnp.sum(sharp * digits, axis=-1)
    top = jnp.argmax(jnp.where(possible, logits, -jnp.inf), axis=-1).astype(jnp.float32)
    farthest = jnp.where(true_digits < 5.0, 9.0, 0.0)
    return jnp.where(exists, top + mean - jax.lax.stop_gradient(mean), farthest)
