# SPDX-License-Identifier: Apache-2.0
"""Attention over whole rows (training, prefill) and over a shared prompt with own continuations (decoding)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def rotary_angles(positions: Int[Array, "B S"], head_dim: int, theta: float) -> Float[Array, "B S half"]:
    """Rotation of every feature pair at every position, in radians."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    return positions.astype(jnp.float32)[:, :, None] * frequencies[None, None, :]


def rotate(x: Float[Array, "B S heads H"], angles: Float[Array, "B S half"]) -> Float[Array, "B S heads H"]:
    """Rotary position embedding; feature i pairs with feature i + H/2, as in Hugging Face checkpoints."""
    sin, cos = jnp.sin(angles)[:, :, None, :], jnp.cos(angles)[:, :, None, :]
    left, right = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1).astype(x.dtype)


def causal_mask(segment_ids: Int[Array, "B S"]) -> Bool[Array, "B S S"]:
    """Who sees whom: earlier positions of the same segment. Padding is a segment of its own, 0."""
    size = segment_ids.shape[1]
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    return same & jnp.tri(size, dtype=bool)[None, :, :]


def causal_attention(
    q: Float[Array, "B S N H"],
    k: Float[Array, "B S K H"],
    v: Float[Array, "B S K H"],
    mask: Bool[Array, "B S S"],
) -> Float[Array, "B S N H"]:
    """Grouped-query attention within rows; softmax in float32."""
    return jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, :, :])


def shared_prefix_attention(
    q: Float[Array, "B G N H"],
    prompt: tuple[Float[Array, "B K P H"], Float[Array, "B K P H"]],
    own: tuple[Float[Array, "B G K T H"], Float[Array, "B G K T H"]],
    prompt_mask: Bool[Array, "B P"],
    step: Int[Array, ""],
) -> Float[Array, "B G N H"]:
    """One query per sample over its prompt, stored once for G samples, and its own tokens 0..step.

    Prompt and own scores meet in one softmax (float32), which is the attention over the whole sequence.
    """
    num_rows, num_samples, num_heads, head_dim = q.shape
    prompt_k, prompt_v = prompt
    own_k, own_v = own
    num_kv_heads, prompt_size, own_size = prompt_k.shape[1], prompt_k.shape[2], own_k.shape[3]
    group = num_heads // num_kv_heads
    q = q.reshape(num_rows, num_samples, num_kv_heads, group, head_dim) * jnp.asarray(head_dim**-0.5, q.dtype)
    score = {"preferred_element_type": jnp.float32}
    to_prompt = jnp.einsum("bgknh,bkph->bgknp", q, prompt_k, **score)
    to_own = jnp.einsum("bgknh,bgkth->bgknt", q, own_k, **score)
    to_prompt = jnp.where(prompt_mask[:, None, None, None, :], to_prompt, -jnp.inf)
    to_own = jnp.where((jnp.arange(own_size) <= step)[None, None, None, None, :], to_own, -jnp.inf)
    weights = jax.nn.softmax(jnp.concatenate([to_prompt, to_own], axis=-1), axis=-1).astype(q.dtype)
    from_prompt = jnp.einsum("bgknp,bkph->bgknh", weights[..., :prompt_size], prompt_v)
    from_own = jnp.einsum("bgknt,bgkth->bgknh", weights[..., prompt_size:], own_v)
    return (from_prompt + from_own).reshape(num_rows, num_samples, num_heads, head_dim)
