# SPDX-License-Identifier: Apache-2.0
"""The critic: one value per position, from its own decoder or from the policy's hidden states."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from ntl_jax.models.config import ModelConfig
from ntl_jax.models.decoder import Decoder


class Critic(nnx.Module):
    """Value of the state before each predicted token. Its head starts at zero: the first values are 0.

    Args:
        config: configuration of the critic's own trunk.
        rngs: random keys for the trunk.
        trunk: a decoder to share instead: its parameters are the same objects in both modules.

    Example:
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> config = ModelConfig(vocab_size=32, num_layers=1, **sizes)
        >>> Critic(config, rngs=nnx.Rngs(0))(jnp.array([[3, 1, 4]])).tolist()
        [[0.0, 0.0, 0.0]]
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, trunk: Decoder | None = None):
        self.trunk = Decoder(config, rngs=rngs) if trunk is None else trunk
        self.value_head = nnx.Param(jnp.zeros(config.width, config.param_dtype))

    def __call__(
        self,
        tokens: Int[Array, "B S"],
        *,
        positions: Int[Array, "B S"] | None = None,
        segment_ids: Int[Array, "B S"] | None = None,
    ) -> Float[Array, "B S"]:
        """Values in float32, one per position."""
        return self.values(self.trunk(tokens, positions=positions, segment_ids=segment_ids))

    def values(self, hidden: Float[Array, "B S D"]) -> Float[Array, "B S"]:
        """Values in float32 from the trunk's hidden states; with a shared trunk, policy and critic share one pass."""
        hidden, weights = hidden.astype(jnp.float32), self.value_head[...].astype(jnp.float32)
        return jnp.einsum("bsd,d->bs", hidden, weights)


def critic_shapes(model: ModelConfig, *, own: bool) -> tuple[nnx.GraphDef, nnx.State]:
    """A critic's graph definition, and the shapes of its own parameters: on the policy's trunk, the value head's alone.

    Args:
        model: the policy's sizes.
        own: whether it has a trunk of its own.

    Example:
        >>> sizes = {"width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32, "feed_forward": 128}
        >>> model = ModelConfig(vocab_size=512, num_layers=2, **sizes)
        >>> [len(list(critic_shapes(model, own=own)[1])) for own in (True, False)]
        [2, 1]
    """
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Critic(model, rngs=nnx.Rngs(0))), nnx.Param)
    return graph, shapes if own else nnx.State({"value_head": shapes["value_head"]})
