# SPDX-License-Identifier: Apache-2.0
"""Shapes and constants of a decoder."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A Qwen2-architecture decoder: rotary grouped-query attention with QKV biases, gated SiLU, RMSNorm.

    Args:
        vocab_size: V, rows of the embedding (may exceed the tokenizer's length).
        num_layers: L.
        width: D.
        num_heads: N query heads.
        num_kv_heads: K key/value heads; divides N.
        head_dim: H; even.
        feed_forward: F.
        rope_theta: base of the rotary frequencies.
        norm_eps: added to the mean square in RMSNorm.
        tie_embeddings: the embedding, transposed, is the vocabulary head: one parameter.

    Example:
        >>> ModelConfig(vocab_size=512, num_layers=2, width=64, num_heads=2, num_kv_heads=1, head_dim=32,
        ...             feed_forward=128).tie_embeddings
        True
    """

    vocab_size: int
    num_layers: int
    width: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    feed_forward: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tie_embeddings: bool = True

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads={self.num_heads} must be a multiple of num_kv_heads={self.num_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim} must be even: rotary positions turn pairs of features")
