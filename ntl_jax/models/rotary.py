# SPDX-License-Identifier: Apache-2.0
"""Rotary positions: every pair of features turns by an angle that grows with the position."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Llama-3 frequency scaling: slows down slow rotations, so that longer rows stay within the trained range.

    Args:
        factor: factor by which the slowest rotations are slowed.
        low_freq_factor, high_freq_factor: number of turns over the original length below which a rotation is slowed by
            ``factor``, and above which it is unchanged; in between, the two are blended.
        original_max_positions: row length in training of the unscaled model, in tokens.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int


def rotary_frequencies(head_dim: int, theta: float, scaling: RopeScaling | None = None) -> np.ndarray:
    """Radians per position of each of the H/2 feature pairs, float32.

    theta^(-2i/H); with scaling as in Llama 3.1 (https://github.com/meta-llama/llama-models, ``apply_scaling``).

    Example:
        >>> rotary_frequencies(4, 100.0).tolist()
        [1.0, 0.10000000149011612]
    """
    frequencies = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if scaling is not None:
        turns = scaling.original_max_positions * frequencies / (2 * math.pi)
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
        frequencies = frequencies * (kept + (1 - kept) / scaling.factor)
    return frequencies.astype(np.float32)


def rotary_angles(positions: Int[Array, "B S"], frequencies: np.ndarray) -> Float[Array, "B S half"]:
    """Rotation of every feature pair at every position, in radians."""
    return positions.astype(jnp.float32)[:, :, None] * frequencies[None, None, :]


def rotate(x: Float[Array, "B S heads H"], angles: Float[Array, "B S half"]) -> Float[Array, "B S heads H"]:
    """Rotates the features, in float32; feature i pairs with feature i + H/2, as in Hugging Face checkpoints."""
    sin, cos = jnp.sin(angles)[:, :, None, :], jnp.cos(angles)[:, :, None, :]
    left, right = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1).astype(x.dtype)
