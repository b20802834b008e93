# SPDX-License-Identifier: Apache-2.0
"""Decoder, critic, sharding of their parameters, and conversion from and to Hugging Face checkpoints."""

from ntl_jax.models.config import ModelConfig
from ntl_jax.models.critic import Critic
from ntl_jax.models.decoder import Decoder, abstract_decoder
from ntl_jax.models.hf.end_tokens import end_token_ids
from ntl_jax.models.hf.folder import hf_folder
from ntl_jax.models.hf.load import check_weights, load_hf
from ntl_jax.models.hf.names import hf_tensors
from ntl_jax.models.hf.save import save_hf
from ntl_jax.models.rotary import RopeScaling
from ntl_jax.models.sharding import batch_sharding, make_mesh, num_row_shards, shardings

__all__ = [
    "Critic",
    "Decoder",
    "ModelConfig",
    "RopeScaling",
    "abstract_decoder",
    "batch_sharding",
    "check_weights",
    "end_token_ids",
    "hf_folder",
    "hf_tensors",
    "load_hf",
    "make_mesh",
    "num_row_shards",
    "save_hf",
    "shardings",
]
