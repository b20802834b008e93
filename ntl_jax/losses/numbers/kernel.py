# SPDX-License-Identifier: Apache-2.0
"""SMMD, a squared kernel distance between the distribution over number tokens and the truth.

Deviations from its code (https://github.com/Zuozhuo/smmd-loss): tokens of one value share the truth's probability
equally, where the code takes one of them; a target that no token has counts as undefined; a position whose number
logits are all -inf is worth the largest possible loss, with a gradient of 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntl_jax.losses.numbers.number_token import number_probs, squashed, value_gaps
from ntl_jax.ops.arguments import check_numbers


def number_token_smmd(
    number_logits: Float[Array, "... M"],
    targets: Float[Array, "..."],
    values: Float[Array, " M"],
    *,
    bandwidth: float = 2.0,
    squash: float | None = 9.0,
) -> Float[Array, "..."]:
    """SMMD: `r^T K r + a r^T (D - K) r` of the residual `r = q - onehot(y)`.

    Source: "Enhancing Numerical Prediction in LLMs via Smooth MMD Alignment", ICML 2026,
    https://arxiv.org/abs/2606.27731; deviations: at the top of this file.

    The kernel `K_ij = exp(-d_ij^2 / (2 bandwidth^2))` of the distances `d_ij = |v_i - v_j|` makes the first term a
    squared maximum mean discrepancy; D is the diagonal matrix of K's row sums, so that the second term is small where
    numbers near each other have similar residuals, and `a` is half of the inverse of the mean row sum.

    Args:
        number_logits: [..., M] logits or log-probs of the number tokens; -inf leaves a token out.
        targets: [...] true values; undefined where NaN or no token's value.
        values: [M] values of the number tokens, in any order.
        bandwidth: of the kernel, in units of the distances; above 0.
        squash: rescales the distances d != 0 to [1, squash], as in `number_token_wasserstein`, so that one bandwidth
            serves every table; 9 is the identity on digits. None: plain distances.

    Returns:
        [...] float32; 0 where all probability is on the truth, at most 2.75 on digits. Beyond a few
        bandwidths it no longer grows with the distance: with 0 true, 6 costs 2.67 and 9 costs 2.47.

    Raises:
        ValueError: shapes that do not fit, `bandwidth` not above 0, or `squash` not above 1.

    Example: all on 4, all on 5, all on 9
        >>> logits = jnp.log(jnp.eye(10)[jnp.array([4, 5, 9])])
        >>> print(*(f"{x:.4f}" for x in number_token_smmd(logits, jnp.full(3, 4.0), jnp.arange(10.0))))
        0.0000 1.3755 2.6256
    """
    check_numbers("above 0: it is the width of the kernel", lambda x: x > 0, bandwidth=bandwidth)
    gaps, defined = value_gaps(number_logits, targets, values)
    at_truth = (gaps == 0.0) & defined[..., None]
    defined = jnp.any(at_truth, axis=-1)
    shared = at_truth.astype(jnp.float32)
    truth = shared / jnp.maximum(jnp.sum(shared, axis=-1, keepdims=True), 1.0)
    matrix = _matrix(values, bandwidth, squash)
    probs, possible = number_probs(number_logits, defined)
    residual = jnp.where(possible[..., None], probs - truth, 0.0)
    # Full precision: accelerators would round the factors to fewer bits.
    loss = jnp.sum(residual * jnp.matmul(residual, matrix, precision=jax.lax.Precision.HIGHEST), axis=-1)
    diagonal = jnp.diagonal(matrix)
    largest = jnp.max(diagonal[:, None] + diagonal[None, :] - 2.0 * matrix)
    return jnp.where(defined, jnp.where(possible, loss, largest), 0.0)


def _matrix(values: Array, bandwidth: float, squash: float | None) -> Float[Array, "M M"]:
    """`K + a (D - K)`."""
    values = values.astype(jnp.float32)
    distances = jnp.abs(values[:, None] - values[None, :])
    if squash is not None:
        distances = squashed(distances, values, squash)
    kernel = jnp.exp(-jnp.square(distances) / (2.0 * bandwidth**2))
    degrees = jnp.sum(kernel, axis=1)
    smoothing = 0.5 / jnp.mean(degrees)
    return (1.0 - smoothing) * kernel + smoothing * jnp.diag(degrees)
