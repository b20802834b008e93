# SPDX-License-Identifier: Apache-2.0
"""Sums, means, variances and whitening over the positions of a mask.

Masks are bool and mean "this position counts". Whatever stands elsewhere, NaN and infinities included, changes neither
value nor gradient: it is replaced before it enters any arithmetic. Everything is computed in float32.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ntl_jax.ops.arguments import check_arrays, check_mask

WHITEN_EPS = 1e-8  # added to the variance, so that a constant array whitens to zeros and not to NaN

Axis = int | tuple[int, ...] | None


def masked_sum(x: Float[Array, "..."], mask: Bool[Array, "..."], axis: Axis = None) -> Float[Array, "..."]:
    """Sum of `x` where `mask`, in float32; 0 over no positions.

    Args:
        x: [...] any real dtype.
        mask: bool, the shape of `x`.
        axis: axes to reduce; all by default.

    Returns:
        The sum, float32, without the reduced axes.

    Raises:
        ValueError: the mask is not bool, or its shape differs from that of `x`.

    Example:
        >>> masked_sum(jnp.array([1.0, jnp.nan, 3.0]), jnp.array([True, False, True])).item()
        4.0
    """
    return jnp.sum(_masked(x, mask), axis=axis)


def masked_mean(x: Float[Array, "..."], mask: Bool[Array, "..."], axis: Axis = None) -> Float[Array, "..."]:
    """Mean of `x` over the positions of `mask`, in float32; 0 over no positions.

    Args:
        x: [...] any real dtype.
        mask: bool, the shape of `x`.
        axis: axes to reduce; all by default.

    Returns:
        The mean, float32, without the reduced axes.

    Raises:
        ValueError: the mask is not bool, or its shape differs from that of `x`.

    Example:
        >>> masked_mean(jnp.array([1.0, 100.0, 3.0]), jnp.array([True, False, True])).item()
        2.0
    """
    return jnp.sum(_masked(x, mask), axis=axis) / jnp.maximum(_count(mask, axis), 1.0)


def masked_variance(x: Float[Array, "..."], mask: Bool[Array, "..."], axis: Axis = None) -> Float[Array, "..."]:
    """Unbiased variance of `x` over the positions of `mask`: `sum (x - mean)^2 / (n - 1)`; 0 over fewer than two.

    Args:
        x: [...] any real dtype.
        mask: bool, the shape of `x`.
        axis: axes to reduce; all by default.

    Returns:
        The variance, float32, without the reduced axes.

    Raises:
        ValueError: the mask is not bool, or its shape differs from that of `x`.

    Example:
        >>> masked_variance(jnp.array([1.0, 100.0, 3.0]), jnp.array([True, False, True])).item()
        2.0
    """
    centred = _centred(x, mask, axis)
    return jnp.sum(centred**2, axis=axis) / jnp.maximum(_count(mask, axis) - 1.0, 1.0)


def masked_whiten(x: Float[Array, "..."], mask: Bool[Array, "..."], axis: Axis = None) -> Float[Array, "..."]:
    """`(x - mean) / sqrt(variance + 1e-8)` over the positions of `mask`, unbiased variance; 0 elsewhere.

    What is the same everywhere becomes exactly 0, whatever its value.

    Args:
        x: [...] any real dtype.
        mask: bool, the shape of `x`.
        axis: axes over which mean and variance are taken; all by default.

    Returns:
        The whitened array, float32, shape of `x`.

    Raises:
        ValueError: the mask is not bool, or its shape differs from that of `x`.

    Example:
        >>> print(masked_whiten(jnp.array([1.0, 100.0, 3.0]), jnp.array([True, False, True])).round(4))
        [-0.7071 0. 0.7071]
    """
    centred = _centred(x, mask, axis)
    variance = jnp.sum(centred**2, axis=axis, keepdims=True) / jnp.maximum(_count(mask, axis, True) - 1.0, 1.0)
    return centred * jnp.broadcast_to(jax.lax.rsqrt(variance + WHITEN_EPS), x.shape)


def _masked(x: Array, mask: Array) -> Array:
    """`x` in float32, with 0 outside the mask."""
    check_mask(mask)
    check_arrays(x=x)
    if mask.shape != x.shape:
        raise ValueError(f"the mask's shape {mask.shape} must be that of the array, {x.shape}: broadcast it explicitly")
    return jnp.where(mask, x, jnp.zeros_like(x)).astype(jnp.float32)


def _count(mask: Array, axis: Axis, keepdims: bool = False) -> Array:
    """How many positions count, in float32."""
    return jnp.sum(mask, axis=axis, keepdims=keepdims, dtype=jnp.float32)


def _centred(x: Array, mask: Array, axis: Axis) -> Array:
    """`x - mean` in float32, with 0 outside the mask; exactly 0 where all that counts is equal.

    A sum over many positions rounds, so the mean of a constant may miss it by an ulp, which a division by a standard
    deviation that is itself rounding would blow up. Held between the least and the largest value it cannot.
    """
    x, count = _masked(x, mask), jnp.maximum(_count(mask, axis, True), 1.0)
    least = jnp.min(x, axis=axis, keepdims=True, where=mask, initial=jnp.inf)
    largest = jnp.max(x, axis=axis, keepdims=True, where=mask, initial=-jnp.inf)
    near_mean = jax.lax.stop_gradient(jnp.clip(jnp.sum(x, axis=axis, keepdims=True) / count, least, largest))
    relative = jnp.where(mask, x - jnp.broadcast_to(near_mean, x.shape), 0.0)
    mean = jnp.sum(relative, axis=axis, keepdims=True) / count
    return jnp.where(mask, relative - jnp.broadcast_to(mean, x.shape), 0.0)
