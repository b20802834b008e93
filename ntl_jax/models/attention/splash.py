# SPDX-License-Identifier: Apache-2.0
"""JAX's splash attention kernel for TPU, per device of the mesh: nothing of size [S, S] reaches memory."""

import jax
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask
from jaxtyping import Array, Float, Int

from ntl_jax.models.sharding import constraint_mesh, partition

BLOCKS = (512, 256, 128)
"""Sizes of the kernel's tiles, in positions; the largest one that divides the row is used."""


def splash_attention(
    q: Float[Array, "B S N H"],
    k: Float[Array, "B S K H"],
    v: Float[Array, "B S K H"],
    segment_ids: Int[Array, "B S"] | None,
    *,
    interpret: bool = False,
) -> Float[Array, "B S N H"]:
    """Causal attention within segments.

    Raises:
        ValueError: if no tile size divides the rows.
    """
    size, head_dim = q.shape[1], q.shape[3]
    block = next((b for b in BLOCKS if size % b == 0), None)
    if block is None:
        raise ValueError(f'attention="splash" needs rows of a multiple of {BLOCKS[-1]} positions, got {size}')

    def attend(
        q: Float[Array, "B N S H"],
        k: Float[Array, "B K S H"],
        v: Float[Array, "B K S H"],
        segment_ids: Int[Array, "B S"] | None,
    ) -> Float[Array, "B N S H"]:
        mask = splash_attention_mask.MultiHeadMask([splash_attention_mask.CausalMask((size, size))] * q.shape[1])
        kernel = splash_attention_kernel.make_splash_mha(
            mask, block_sizes=_blocks(block), head_shards=1, q_seq_shards=1, interpret=interpret
        )
        ids = segment_ids if segment_ids is None else splash_attention_kernel.SegmentIds(segment_ids, segment_ids)
        mixed = jax.vmap(kernel)(q, k, v, ids)
        assert isinstance(mixed, jax.Array), "residuals are saved only when asked for"
        return mixed

    mesh = constraint_mesh()
    if mesh is not None:
        spec = partition(q.shape, ("rows", "heads", "whole", "head_dim"), mesh.shape)[0]
        attend = jax.shard_map(attend, in_specs=(spec, spec, spec, jax.P(spec[0])), out_specs=spec, check_vma=False)
    q, k, v = (x.swapaxes(1, 2) for x in (q * head_dim**-0.5, k, v))
    return attend(q, k, v, segment_ids).swapaxes(1, 2)


def _blocks(size: int) -> splash_attention_kernel.BlockSizes:
    return splash_attention_kernel.BlockSizes(
        block_q=size, block_kv=size, block_q_dkv=size, block_kv_dkv=size, block_q_dq=size, block_kv_dq=size
    )
