# SPDX-License-Identifier: Apache-2.0
"""Decoder, critic, and where their parameters lie on a mesh."""

from ntl_jax.models.config import ModelConfig
from ntl_jax.models.critic import Critic
from ntl_jax.models.decoder import Decoder
from ntl_jax.models.sharding import batch_sharding, make_mesh, shardings

__all__ = ["Critic", "Decoder", "ModelConfig", "batch_sharding", "make_mesh", "shardings"]
