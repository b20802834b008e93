# SPDX-License-Identifier: Apache-2.0
"""Attention where several responses share their prompt's keys and values, which are read once per group of responses.

A row is a prompt padded on the left, then G responses padded on the right. A query of a response sees the whole prompt
and its own response up to itself.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.models.attention.rows import LONG_ROW, LOWEST, Keys, Queries, row_attention


def shared_attention(
    implementation: str, in_prompt: Bool[Array, "B P"], num_samples: int, *, long_row: int = LONG_ROW
) -> Callable[[Queries, Keys, Keys], Queries]:
    """Attention within rows [prompt, G responses], as (q [B, P + G T, N, H], k [B, P + G T, K, H], v) -> as q.

    Args:
        implementation: kernel for the prompts, as in ``ModelConfig.attention``. Responses always use XLA's products:
            no kernel reads a prompt's keys once for several responses.
        in_prompt: which positions of the left-padded prompts are tokens.
        num_samples: responses per row, G.
        long_row: responses longer than this are processed in blocks of this many queries.
    """
    of_prompt = row_attention(implementation, in_prompt.astype(jnp.int32), long_row=long_row)

    def attend(q: Queries, k: Keys, v: Keys) -> Queries:
        (q, own_q), (k, own_k), (v, own_v) = (jnp.split(x, [in_prompt.shape[1]], axis=1) for x in (q, k, v))
        mixed = _of_responses(own_q, own_k, own_v, k, v, in_prompt, num_samples, long_row)
        return jnp.concatenate([of_prompt(q, k, v), mixed], axis=1)

    return attend


def _of_responses(
    q: Float[Array, "B GT N H"],
    k: Float[Array, "B GT K H"],
    v: Float[Array, "B GT K H"],
    prompt_k: Float[Array, "B P K H"],
    prompt_v: Float[Array, "B P K H"],
    in_prompt: Bool[Array, "B P"],
    num_samples: int,
    long_row: int,
) -> Float[Array, "B GT N H"]:
    """One softmax over the keys of the prompt and of the own response, in float32."""
    num_rows, _, num_kv_heads, head_dim = k.shape
    per_head, size = q.shape[2] // num_kv_heads, q.shape[1] // num_samples
    by_sample = q.reshape(num_rows, num_samples, size, num_kv_heads, per_head, head_dim) * head_dim**-0.5
    queries = by_sample.transpose(0, 3, 1, 4, 2, 5)
    k, v = (x.reshape(num_rows, num_samples, size, num_kv_heads, head_dim).transpose(0, 3, 1, 2, 4) for x in (k, v))
    prompt_k, prompt_v = (x.transpose(0, 2, 1, 3) for x in (prompt_k, prompt_v))

    def block(q: Float[Array, "B K G M C H"], steps: Int[Array, "C"]) -> Float[Array, "B K G M C H"]:
        by_prompt, by_response = (num_rows, num_kv_heads, -1), (*k.shape[:3], -1)
        to_prompt = jnp.einsum(
            "bkqh,bkph->bkqp", q.reshape(*by_prompt, head_dim), prompt_k, preferred_element_type=jnp.float32
        )
        to_own = jnp.einsum(
            "bkgqh,bkgth->bkgqt", q.reshape(*by_response, head_dim), k, preferred_element_type=jnp.float32
        )
        to_prompt = jnp.where(in_prompt[:, None, None], to_prompt, LOWEST).reshape(*by_response, in_prompt.shape[1])
        seen = jnp.tile(steps[:, None] >= jnp.arange(size)[None], (per_head, 1))
        to_own = jnp.where(seen[None, None, None], to_own, LOWEST)
        highest = jnp.maximum(*(jnp.max(x, axis=-1, keepdims=True) for x in (to_prompt, to_own)))
        of_prompt, of_own = (jnp.exp(x - jax.lax.stop_gradient(highest)) for x in (to_prompt, to_own))
        total = jnp.sum(of_prompt, axis=-1, keepdims=True) + jnp.sum(of_own, axis=-1, keepdims=True)
        of_prompt, of_own = (x.astype(q.dtype) for x in (of_prompt, of_own))
        mixed = jnp.einsum("bkqp,bkph->bkqh", of_prompt.reshape(*by_prompt, in_prompt.shape[1]), prompt_v)
        mixed = mixed.reshape(*by_response, head_dim) + jnp.einsum("bkgqt,bkgth->bkgqh", of_own, v)
        return (mixed / total).astype(q.dtype).reshape(q.shape)

    mixed = block(queries, jnp.arange(size)) if size <= long_row else _in_blocks(block, queries, long_row)
    return mixed.transpose(0, 2, 4, 1, 3, 5).reshape(q.shape)


def _in_blocks(
    block: Callable[[Array, Array], Array], queries: Float[Array, "B K G M T H"], long_row: int
) -> Float[Array, "B K G M T H"]:
    """The attention of ``long_row`` steps at a time, recomputed in the backward pass."""
    size = queries.shape[4]
    num_blocks = -(-size // long_row)
    padded = jnp.pad(queries, [*[(0, 0)] * 4, (0, num_blocks * long_row - size), (0, 0)])
    blocks = jnp.moveaxis(padded.reshape(*queries.shape[:4], num_blocks, long_row, queries.shape[5]), 4, 0)
    steps = jnp.arange(num_blocks * long_row).reshape(num_blocks, long_row)
    mixed = jax.lax.map(lambda x: jax.checkpoint(block)(*x), (blocks, steps))
    return jnp.moveaxis(mixed, 0, 4).reshape(padded.shape)[:, :, :, :, :size]
