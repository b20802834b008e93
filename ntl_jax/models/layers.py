# SPDX-License-Identifier: Apache-2.0
"""One decoder layer. What attends to what is an argument, so that training and decoding share every line here."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ntl_jax.models.attention import rotate
from ntl_jax.models.config import ModelConfig

Attend = Callable[[Array, Array, Array], tuple[Array, object]]
"""(q, k, v) of the new positions -> (mixed values, what the caller wants kept: a cache, or None)."""


def matrix(rngs: nnx.Rngs, *shape: int, fan_in: int, scale: float = 1.0) -> nnx.Param:
    """Gaussian weights that keep the variance of their input (times scale^2)."""
    return nnx.Param(jax.random.normal(rngs.params(), shape) * (scale * fan_in**-0.5))


class RMSNorm(nnx.Module):
    """Divides by the root mean square over the width, in float32, then scales."""

    def __init__(self, width: int, eps: float):
        self.scale = nnx.Param(jnp.ones(width))
        self.eps = eps

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        x32 = x.astype(jnp.float32)
        normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
        return jnp.einsum("...d,d->...d", normed.astype(x.dtype), self.scale[...])


class Attention(nnx.Module):
    """Grouped-query attention with QKV biases and rotary positions."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        d, n, k, h = config.width, config.num_heads, config.num_kv_heads, config.head_dim
        self.query = matrix(rngs, d, n, h, fan_in=d)
        self.key = matrix(rngs, d, k, h, fan_in=d)
        self.value = matrix(rngs, d, k, h, fan_in=d)
        self.query_bias = nnx.Param(jnp.zeros((n, h)))
        self.key_bias = nnx.Param(jnp.zeros((k, h)))
        self.value_bias = nnx.Param(jnp.zeros((k, h)))
        self.output = matrix(rngs, n, h, d, fan_in=n * h, scale=(2 * config.num_layers) ** -0.5)

    def __call__(self, x: Float[Array, "B S D"], angles: Array, attend: Attend) -> tuple[Float[Array, "B S D"], object]:
        q = jnp.einsum("bsd,dnh->bsnh", x, self.query[...]) + self.query_bias[...][None, None]
        k = jnp.einsum("bsd,dkh->bskh", x, self.key[...]) + self.key_bias[...][None, None]
        v = jnp.einsum("bsd,dkh->bskh", x, self.value[...]) + self.value_bias[...][None, None]
        mixed, kept = attend(rotate(q, angles), rotate(k, angles), v)
        return jnp.einsum("bsnh,nhd->bsd", mixed, self.output[...]), kept


class FeedForward(nnx.Module):
    """SiLU-gated feed-forward."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        d, f = config.width, config.feed_forward
        self.gate = matrix(rngs, d, f, fan_in=d)
        self.up = matrix(rngs, d, f, fan_in=d)
        self.down = matrix(rngs, f, d, fan_in=f, scale=(2 * config.num_layers) ** -0.5)

    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        return jax.nn.silu(x @ self.gate[...]) * (x @ self.up[...]) @ self.down[...]


class Layer(nnx.Module):
    """Pre-norm attention and feed-forward, each added to the stream."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config, rngs=rngs)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps)
        self.feed_forward = FeedForward(config, rngs=rngs)

    def __call__(self, x: Float[Array, "B S D"], angles: Array, attend: Attend) -> tuple[Float[Array, "B S D"], object]:
        mixed, kept = self.attention(self.attention_norm(x), angles, attend)
        x = x + mixed
        return x + self.feed_forward(self.feed_forward_norm(x)), kept
