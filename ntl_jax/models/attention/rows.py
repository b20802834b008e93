# SPDX-License-Identifier: Apache-2.0
"""Attention over whole rows: training and prefill."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.models.sharding import constrain, constraint_mesh, mesh_platform

Queries = Float[Array, "B S N H"]
Keys = Float[Array, "B S K H"]
"""Keys or values."""

LOWEST = -0.7 * float(jnp.finfo(jnp.float32).max)  # a masked score: finite, so that a fully masked row stays finite
LONG_ROW = 1024  # positions; longer rows are processed in blocks of this many queries


def causal_mask(segment_ids: Int[Array, "B S"]) -> Bool[Array, "B S S"]:
    """Each position attends to itself and to earlier positions of its segment. Padding is segment 0."""
    size = segment_ids.shape[1]
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    return same & jnp.tri(size, dtype=bool)[None, :, :]


def causal_attention(
    q: Queries,
    k: Keys,
    v: Keys,
    mask: Bool[Array, "B S S"],
) -> Queries:
    """Grouped-query attention within rows; softmax in float32.

    Heads come first and the queries of a group are stacked, so two matrix products are enough, for which XLA:CPU copies
    less than for ``jax.nn.dot_product_attention``.
    """
    num_rows, size, num_heads, head_dim = q.shape
    num_kv_heads = k.shape[2]
    group = num_heads // num_kv_heads
    q = q.reshape(num_rows, size, num_kv_heads, group, head_dim).transpose(0, 2, 3, 1, 4) * head_dim**-0.5
    q = q.reshape(num_rows, num_kv_heads, group * size, head_dim)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bkqh,bkth->bkqt", q, k, preferred_element_type=jnp.float32)
    visible = jnp.tile(mask, (1, group, 1))[:, None]
    weights = jax.nn.softmax(jnp.where(visible, scores, LOWEST), axis=-1).astype(q.dtype)
    mixed = jnp.einsum("bkqt,bkth->bkqh", weights, v).reshape(num_rows, num_kv_heads, group, size, head_dim)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(q.shape[0], size, num_heads, head_dim)


def row_attention(
    implementation: str, segment_ids: Int[Array, "B S"] | None, *, long_row: int = LONG_ROW
) -> Callable[[Queries, Keys, Keys], Queries]:
    """Causal attention within the segments of rows, as (q [B, S, N, H], k [B, S, K, H], v) -> [B, S, N, H].

    Args:
        implementation: as in ``ModelConfig.attention``.
        segment_ids: None: one segment per row. Rows that are only padded on the right need no ids: no token sees the
            padding after it, and cuDNN then needs no [B, S, S] mask, unlike for packed rows.
        long_row: "xla" processes longer rows in blocks of this many queries.
    """

    def attend(q: Queries, k: Keys, v: Keys) -> Queries:
        match choose_attention(implementation, q.shape, q.dtype, mesh_platform()):
            case "cudnn":
                q, k, v = _by_device(q, k, v)
                return _cudnn(q, k, v, segment_ids)
            case "splash":
                from ntl_jax.models.attention.splash import splash_attention  # importing Pallas takes a while

                q, k, v = _by_device(q, k, v)
                return splash_attention(q, k, v, segment_ids)
            case _:
                return _xla(q, k, v, segment_ids, long_row)

    return attend


def choose_attention(implementation: str, shape: tuple[int, ...], dtype: DTypeLike, platform: str | None) -> str:
    """Resolves "auto": the platform's kernel if it supports the shape and dtype of the queries, else "xla".

    Args:
        implementation: as in ``ModelConfig.attention``.
        shape: shape of the queries, [B, S, N, H].
        dtype: dtype of the queries.
        platform: platform of the mesh in effect. None: no mesh, so the program may run on any platform.

    Example:
        >>> choose_attention("auto", (8, 512, 14, 64), jnp.bfloat16, "gpu")
        'cudnn'
        >>> choose_attention("auto", (8, 512, 14, 64), jnp.bfloat16, None)
        'xla'
    """
    if implementation != "auto":
        return implementation
    _, size, _, head_dim = shape
    match platform:
        case "gpu" if dtype == jnp.bfloat16 and head_dim % 8 == 0 and head_dim <= 128 and size % 2 == 0:
            return "cudnn"
        case "tpu" if size % 128 == 0:
            return "splash"
    return "xla"


def _xla(q: Queries, k: Keys, v: Keys, segment_ids: Int[Array, "B S"] | None, long_row: int) -> Queries:
    """Dense scores up to ``long_row``; beyond, for that many queries at a time, recomputed in the backward pass."""
    num_rows, size, *heads = q.shape
    segment_ids = jnp.ones((1, size), jnp.int32) if segment_ids is None else segment_ids
    if size <= long_row:
        return causal_attention(q, k, v, causal_mask(segment_ids))
    num_blocks = -(-size // long_row)
    padding = num_blocks * long_row - size
    blocks = jnp.pad(q, ((0, 0), (0, padding), (0, 0), (0, 0))).reshape(num_rows, num_blocks, long_row, *heads)
    queries = jnp.arange(num_blocks * long_row).reshape(num_blocks, long_row)

    @jax.checkpoint
    def attend_block(block: tuple[Float[Array, "B C N H"], Int[Array, "C"]]) -> Float[Array, "B C N H"]:
        q, index = block
        own_ids = segment_ids[:, jnp.minimum(index, size - 1)]
        mask = (own_ids[:, :, None] == segment_ids[:, None, :]) & (index[:, None] >= jnp.arange(size)[None])[None]
        return causal_attention(q, k, v, mask)

    mixed = jax.lax.map(attend_block, (blocks.swapaxes(0, 1), queries))
    return mixed.swapaxes(0, 1).reshape(num_rows, -1, *heads)[:, :size]


def _cudnn(q: Queries, k: Keys, v: Keys, segment_ids: Int[Array, "B S"] | None) -> Queries:
    """cuDNN's flash attention. It does not support segments: packed rows pass a mask [B, 1, S, S] as a bias."""
    same = None if segment_ids is None else (segment_ids[:, :, None] == segment_ids[:, None, :])[:, None]
    return jax.nn.dot_product_attention(q, k, v, mask=same, is_causal=True, implementation="cudnn")


def _by_device(q: Queries, k: Keys, v: Keys) -> tuple[Queries, Keys, Keys]:
    """Shards heads for a kernel that runs per device: each query head with the key/value head that it reads."""
    mesh = constraint_mesh()
    if mesh is not None and k.shape[2] % mesh.shape["tensor"]:
        k, v = (jnp.repeat(x, q.shape[2] // k.shape[2], axis=2) for x in (k, v))
    q, k, v = (constrain(x, "rows", "whole", "heads", "head_dim") for x in (q, k, v))
    return q, k, v
