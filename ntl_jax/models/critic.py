# SPDX-License-Identifier: Apache-2.0
"""The critic: a decoder of its own with one number per position."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from ntl_jax.models.config import ModelConfig
from ntl_jax.models.decoder import Decoder


class Critic(nnx.Module):
    """Value of the state before each predicted token. Its head starts at zero: the first values are 0.

    Example:
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> config = ModelConfig(vocab_size=32, num_layers=1, **sizes)
        >>> Critic(config, rngs=nnx.Rngs(0))(jnp.array([[3, 1, 4]])).tolist()
        [[0.0, 0.0, 0.0]]
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.trunk = Decoder(config, rngs=rngs)
        self.value_head = nnx.Param(jnp.zeros(config.width))

    def __call__(
        self,
        tokens: Int[Array, "B S"],
        *,
        positions: Int[Array, "B S"] | None = None,
        segment_ids: Int[Array, "B S"] | None = None,
    ) -> Float[Array, "B S"]:
        """Values in float32, one per position."""
        hidden = self.trunk(tokens, positions=positions, segment_ids=segment_ids)
        return jnp.einsum("bsd,d->bs", hidden, self.value_head[...], preferred_element_type=jnp.float32)
