# SPDX-License-Identifier: Apache-2.0
"""Metrics of a step that can be added: means are kept as (sum, weight), so micro-batches and minibatches add up."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Mean(NamedTuple):
    """A mean before division."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


class MetricSums(NamedTuple):
    """Metrics by name: weighted means, and maxima. A sum has the metrics of both; not every update has all of them.

    Example:
        >>> a = MetricSums({"loss": Mean(jnp.float32(3.0), jnp.float32(1.0))}, {"ratio": jnp.float32(1.5)})
        >>> b = MetricSums({"loss": Mean(jnp.float32(1.0), jnp.float32(3.0))}, {"ratio": jnp.float32(1.2)})
        >>> (a + b).to_dict()
        {'loss': 1.0, 'ratio': 1.5}
    """

    means: dict[str, Mean]
    maxima: dict[str, Float[Array, ""]]

    def __add__(self, other: "MetricSums") -> "MetricSums":  # pyright: ignore[reportIncompatibleMethodOverride]
        means, maxima = self.means | other.means, self.maxima | other.maxima
        for name in self.means.keys() & other.means.keys():
            means[name] = Mean(*map(jnp.add, self.means[name], other.means[name]))
        for name in self.maxima.keys() & other.maxima.keys():
            maxima[name] = jnp.maximum(self.maxima[name], other.maxima[name])
        return MetricSums(means, maxima)

    def to_dict(self) -> dict[str, float]:
        """Plain floats on the host; a mean with zero weight is NaN."""
        means, maxima = jax.device_get((self.means, self.maxima))
        with np.errstate(invalid="ignore"):
            return {name: float(np.float32(m.total) / np.float32(m.weight)) for name, m in means.items()} | {
                name: float(value) for name, value in maxima.items()
            }
