# SPDX-License-Identifier: Apache-2.0
"""Shapes of pretrained models, for benchmarks with random weights."""

import dataclasses

from ntl_jax.models import ModelConfig

SMOLLM2_135M = ModelConfig(
    vocab_size=49_152, num_layers=30, width=576, num_heads=9, num_kv_heads=3, head_dim=64, feed_forward=1536,
    rope_theta=1e5, norm_eps=1e-5, max_positions=8192, architecture="LlamaForCausalLM",
)  # fmt: skip
QWEN2_5_0_5B = ModelConfig(
    vocab_size=151_936, num_layers=24, width=896, num_heads=14, num_kv_heads=2, head_dim=64, feed_forward=4864,
    rope_theta=1e6,
)  # fmt: skip
QWEN2_5_1_5B = dataclasses.replace(
    QWEN2_5_0_5B, num_layers=28, width=1536, num_heads=12, head_dim=128, feed_forward=8960
)
