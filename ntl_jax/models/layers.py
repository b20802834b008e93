# SPDX-License-Identifier: Apache-2.0
"""One decoder layer. Attention is an argument, so that training and decoding share all other code.

Parameters are cast to the dtype of the residual stream, which is the dtype of the computation.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ntl_jax.models.config import ModelConfig
from ntl_jax.models.rotary import rotate

Attend = Callable[[Array, Array, Array], tuple[Array, object]]
"""(q, k, v) of the new positions -> (mixed values, what the caller keeps: a cache, or None)."""


def matrix(rngs: nnx.Rngs, *shape: int, fan_in: int, dtype: str, scale: float = 1.0) -> nnx.Param:
    """Gaussian weights that keep the variance of their input (times scale^2)."""
    return nnx.Param((jax.random.normal(rngs.params(), shape) * (scale * fan_in**-0.5)).astype(dtype))


def project(x: Float[Array, "... inputs"], param: nnx.Param, num_inputs: int = 1) -> Float[Array, "... outputs"]:
    """The stream times a parameter [*inputs, *outputs], contracted over the inputs, in the stream's dtype.

    Computed as a product of two matrices: with more axes, XLA:CPU copies the operands in the backward pass.
    """
    weights = param[...].astype(x.dtype)
    inputs, outputs = weights.shape[:num_inputs], weights.shape[num_inputs:]
    flat = x.reshape(-1, math.prod(inputs)) @ weights.reshape(math.prod(inputs), -1)
    return flat.reshape(*x.shape[: x.ndim - num_inputs], *outputs)


class RMSNorm(nnx.Module):
    """Divides by the root mean square over the last axis, in float32, then scales."""

    def __init__(self, width: int, eps: float, dtype: str):
        self.scale = nnx.Param(jnp.ones(width, dtype))
        self.eps = eps

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        x32 = x.astype(jnp.float32)
        normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
        # A plain product: on XLA:CPU the gradient of an einsum with the scale takes three times as long.
        return normed.astype(x.dtype) * jnp.expand_dims(self.scale[...].astype(x.dtype), range(x.ndim - 1))


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions; QKV biases and QK norms depend on the architecture."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        d, n, k, h = config.width, config.num_heads, config.num_kv_heads, config.head_dim
        dtype = config.param_dtype
        self.query = matrix(rngs, d, n, h, fan_in=d, dtype=dtype)
        self.key = matrix(rngs, d, k, h, fan_in=d, dtype=dtype)
        self.value = matrix(rngs, d, k, h, fan_in=d, dtype=dtype)
        self.output = matrix(rngs, n, h, d, fan_in=n * h, dtype=dtype, scale=(2 * config.num_layers) ** -0.5)
        self.query_bias = nnx.Param(jnp.zeros((n, h), dtype)) if config.qkv_bias else None
        self.key_bias = nnx.Param(jnp.zeros((k, h), dtype)) if config.qkv_bias else None
        self.value_bias = nnx.Param(jnp.zeros((k, h), dtype)) if config.qkv_bias else None
        self.query_norm = RMSNorm(h, config.norm_eps, dtype) if config.qk_norm else None
        self.key_norm = RMSNorm(h, config.norm_eps, dtype) if config.qk_norm else None

    def __call__(self, x: Float[Array, "B S D"], angles: Array, attend: Attend) -> tuple[Float[Array, "B S D"], object]:
        q = _biased(project(x, self.query), self.query_bias)
        k = _biased(project(x, self.key), self.key_bias)
        v = _biased(project(x, self.value), self.value_bias)
        q = q if self.query_norm is None else self.query_norm(q)
        k = k if self.key_norm is None else self.key_norm(k)
        mixed, kept = attend(rotate(q, angles), rotate(k, angles), v)
        return project(mixed, self.output, num_inputs=2), kept


def _biased(x: Float[Array, "B S heads H"], bias: nnx.Param | None) -> Float[Array, "B S heads H"]:
    return x if bias is None else x + bias[...].astype(x.dtype)[None, None]


class FeedForward(nnx.Module):
    """SiLU-gated feed-forward."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        d, f, dtype = config.width, config.feed_forward, config.param_dtype
        self.gate = matrix(rngs, d, f, fan_in=d, dtype=dtype)
        self.up = matrix(rngs, d, f, fan_in=d, dtype=dtype)
        self.down = matrix(rngs, f, d, fan_in=f, dtype=dtype, scale=(2 * config.num_layers) ** -0.5)

    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        hidden = jax.nn.silu(project(x, self.gate)) * project(x, self.up)
        return project(hidden, self.down)


class Layer(nnx.Module):
    """Pre-norm attention and feed-forward, each added to the stream."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.width, config.norm_eps, config.param_dtype)
        self.attention = Attention(config, rngs=rngs)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps, config.param_dtype)
        self.feed_forward = FeedForward(config, rngs=rngs)

    def __call__(self, x: Float[Array, "B S D"], angles: Array, attend: Attend) -> tuple[Float[Array, "B S D"], object]:
        mixed, kept = self.attention(self.attention_norm(x), angles, attend)
        x = x + mixed
        return x + self.feed_forward(self.feed_forward_norm(x)), kept
